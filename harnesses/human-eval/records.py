"""The files that the two phases share: which problems are asked, and what came back."""

import gzip
import json
import math
import os
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Record = dict[str, Any]  # one line of generations.jsonl; README.md lists its fields
Key = tuple[str, int]  # problem id, repeat

SELECTION = "selection.json"
GENERATIONS = "generations.jsonl"
FSYNC_RECORDS = 32
FSYNC_S = 2.0


def read_problems(path: Path) -> dict[str, dict[str, str]]:
    """Return the problems by id, in the order of the file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    return {row["task_id"]: row for row in rows}


def choose(ids: Iterable[str], limit: float | None, seed: int | None, sampling: str) -> list[str]:
    """Return the ids that a limit leaves (a count, or a share below 1 rounded up), in their own order."""
    ordered = list(ids)
    if sampling not in ("seeded", "head"):
        raise ValueError(f'extra "sampling" must be seeded or head, not {sampling!r}')
    if limit is None:
        return ordered
    count = min(len(ordered), math.ceil(len(ordered) * limit) if limit < 1 else int(limit))
    if sampling == "head":
        return ordered[:count]
    chosen = set(random.Random(seed).sample(sorted(ordered), count))
    return [problem for problem in ordered if problem in chosen]


def write_json(path: Path, value: Any) -> None:
    """Replace a file as one step, so that a kill leaves the old one or the new one."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)


def load_records(path: Path) -> dict[Key, Record]:
    """Return the last record of each question; a torn last line counts as not written."""
    if not path.exists():
        return {}
    lines = path.read_bytes().split(b"\n")[:-1]
    records = [json.loads(line) for line in lines]
    return {(record["id"], record["repeat"]): record for record in records}


class RecordLog:
    """Appends records to a file, whole lines at a time, synced to disk every few records or seconds."""

    def __init__(self, path: Path) -> None:
        _drop_torn_line(path)
        self._file = path.open("ab", buffering=0)
        self._unsynced = 0
        self._synced_at = time.monotonic()

    def __enter__(self) -> "RecordLog":
        return self

    def __exit__(self, *_: object) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def append(self, record: Record) -> None:
        """Write one record."""
        self._file.write(json.dumps(record).encode("ascii") + b"\n")
        self._unsynced += 1
        if self._unsynced >= FSYNC_RECORDS or time.monotonic() - self._synced_at > FSYNC_S:
            os.fsync(self._file.fileno())
            self._unsynced, self._synced_at = 0, time.monotonic()


def _drop_torn_line(path: Path) -> None:
    if path.exists():
        content = path.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)
