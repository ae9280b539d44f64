"""Whose a container, a network or a process is: labels by which the next run tells leftovers from work."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

LABEL = "io.evaldock.run"
OWNER_LABEL = "io.evaldock.owner"


def labels_of(run_id: str) -> dict[str, str]:
    """Return the labels of everything that this process makes for a run."""
    return {LABEL: run_id, OWNER_LABEL: owner()}


def owner() -> str:
    """Return an identity of this process that no later process shares: host, boot, pid, start time."""
    return ":".join((platform.node(), _boot_id(), str(os.getpid()), _start_ticks(os.getpid()) or ""))


def is_orphan(labels: Mapping[str, str]) -> bool:
    """Tell whether the labelled object's owner ran on this host and is gone."""
    parts: Sequence[str] = labels.get(OWNER_LABEL, "").split(":")
    if len(parts) != 4 or parts[0] != platform.node():
        return False
    _, boot, pid, ticks = parts
    return boot != _boot_id() or _start_ticks(int(pid)) != ticks


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _start_ticks(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]  # field 22 of proc(5), counted after the command name
