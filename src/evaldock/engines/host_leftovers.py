"""What a run on engine host leaves if its process is killed: a note of it, its folder, its processes."""

import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evaldock.engines.ownership import LABEL, is_orphan, labels_of
from evaldock.supply.paths import cache_home
from evaldock_entrypoints.contract.files import write_json

_PREFIX = "evaldock-host-"
_KILL_TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """The private folder of one run's processes, and the note by which a later run finds it.

    The folder's name is in the TMPDIR of every process of the run, and nobody else's.
    """

    note: Path
    folder: Path

    def clear(self) -> None:
        """End what still runs from this folder, remove the folder, then the note."""
        kill_all_of(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.note.unlink(missing_ok=True)


def open_workplace(run_id: str) -> Workplace:
    """Make a run's private folder, noted before anything runs in it."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
    notes = _notes()
    notes.mkdir(parents=True, exist_ok=True)
    workplace = Workplace(note=notes / f"{folder.name}.json", folder=folder)
    write_json(workplace.note, {"labels": labels_of(run_id), "folder": str(folder)})
    return workplace


def sweep() -> list[str]:
    """Clear what runs of this machine left whose process is gone; return what was cleared."""
    cleared = []
    for labels, workplace in _noted():
        if is_orphan(labels):
            workplace.clear()
            cleared.append(f"the processes of {labels.get(LABEL, workplace.folder.name)}")
    return cleared


def kill_all_of(folder: Path) -> None:
    """Send KILL to every process with this folder in its environment until there is none."""
    deadline = time.monotonic() + _KILL_TIMEOUT_S
    while (found := processes_of(folder)) and time.monotonic() < deadline:
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def processes_of(folder: Path) -> list[int]:
    """Return the processes that were started with a TMPDIR below this folder."""
    mark = b"\0TMPDIR=" + bytes(folder) + b"/"
    return [pid for pid, environment in _environments() if mark in b"\0" + environment and pid != os.getpid()]


def _environments() -> Iterator[tuple[int, bytes]]:
    """Yield every process of this user that has not ended, with its environment as it was at its start."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                yield int(entry.name), (entry / "environ").read_bytes()  # empty once it has ended


def _noted() -> Iterator[tuple[dict[str, str], Workplace]]:
    for note in sorted(_notes().glob(f"{_PREFIX}*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(note.read_text(encoding="utf-8"))
            folder = Path(content["folder"])
            if folder.name == note.stem:  # never remove a folder that is not one of ours
                yield dict(content["labels"]), Workplace(note=note, folder=folder)


def _notes() -> Path:
    return cache_home() / "host"
