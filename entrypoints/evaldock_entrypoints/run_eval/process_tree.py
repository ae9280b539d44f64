"""The processes that descend from this one, also those that have detached themselves from their parents."""

import ctypes
import os
import signal
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_TIMEOUT_S = 10.0


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own one ends, as prctl(2) calls a subreaper."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> set[int]:
    """Return this process's children."""
    return _below(_parents(), {os.getpid()}, whole=False)


def end_descendants(spared: Collection[int]) -> None:
    """Kill what descends from this process, but for the spared children and theirs, until nothing is left.

    All are stopped before any is killed: whoever forks faster than it is killed would go on for ever.
    """
    stopped: set[int] = set()
    deadline = time.monotonic() + _TIMEOUT_S
    while (found := _found(spared)) and time.monotonic() < deadline:
        if found <= stopped:
            _send(found, signal.SIGKILL)
            _reap(found)
            time.sleep(0.01)
        else:
            _send(found - stopped, signal.SIGSTOP)
            stopped |= found


def _found(spared: Collection[int]) -> set[int]:
    parents = _parents()
    roots = _below(parents, {os.getpid()}, whole=False) - set(spared)
    return roots | _below(parents, roots, whole=True)


def _parents() -> dict[int, int]:
    """Return every process's parent."""
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError, IndexError):
                found[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def _below(parents: dict[int, int], roots: Collection[int], *, whole: bool) -> set[int]:
    """Return the children of the roots, with `whole` theirs too."""
    newest = {process for process, parent in parents.items() if parent in roots}
    found = set(newest)
    while whole and newest:
        newest = {process for process, parent in parents.items() if parent in newest} - found
        found |= newest
    return found


def _send(processes: Iterable[int], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)


def _reap(processes: Iterable[int]) -> None:
    for process in processes:
        with suppress(ChildProcessError):
            os.waitpid(process, os.WNOHANG)
