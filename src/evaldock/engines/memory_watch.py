"""Whether a container ran out of memory, asked of the kernel: podman 4.3 always denies it on cgroup v1."""

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup/memory")
_REMOVAL_TIMEOUT_S = 2.0


@dataclass(frozen=True, kw_only=True)
class MemoryWatch:
    """Counts the out-of-memory events of one control group (cgroup v1).

    https://docs.kernel.org/admin-guide/cgroup-v1/memory.html, section 10: an eventfd is told each of them,
    then, once, that the group is gone.
    """

    group: Path
    event: int
    control: int

    def ran_out(self) -> bool:
        """Tell whether the group, whose processes have ended, ever ran out of memory."""
        deadline_s = time.monotonic() + _REMOVAL_TIMEOUT_S
        while self.group.exists() and time.monotonic() < deadline_s:
            time.sleep(0.01)
        try:
            events = os.eventfd_read(self.event)
        except BlockingIOError:
            return False
        os.eventfd_write(self.event, events)  # for whoever asks again
        return events > (0 if self.group.exists() else 1)

    def close(self) -> None:
        """Stop listening."""
        os.close(self.event)
        os.close(self.control)


def watch_memory(pid: int) -> MemoryWatch | None:
    """Listen to the control group of a process; None where the kernel has no such events (cgroup v2)."""
    group = _memory_group(pid)
    if group is None:
        return None
    with contextlib.ExitStack() as undo:
        event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        undo.callback(os.close, event)
        try:
            control = os.open(group / "memory.oom_control", os.O_RDONLY)
            undo.callback(os.close, control)
            (group / "cgroup.event_control").write_text(f"{event} {control}", encoding="ascii")
        except OSError:  # a rootless container's; its limits do not bind there either
            return None
        undo.pop_all()
    return MemoryWatch(group=group, event=event, control=control)


def _memory_group(pid: int) -> Path | None:
    for line in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return _ROOT / path.lstrip("/")
    return None
