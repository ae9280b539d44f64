"""The files that the two phases share: which prompts are asked, what came back, and the verdicts."""

import json
import math
import os
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]  # one line of a file; README.md lists the fields
SELECTION, GENERATIONS, SCORES, SUMMARY = "selection.json", "generations.jsonl", "scores.jsonl", "score.json"


def choose(ids: Sequence[str], limit: float | None, seed: int | None, sampling: str) -> list[str]:
    """Return the ids that a limit leaves (a count, or a share below 1 rounded up), in their own order."""
    if limit is None:
        return list(ids)
    count = min(len(ids), math.ceil(len(ids) * limit) if limit < 1 else int(limit))
    if sampling == "head":
        return list(ids[:count])
    chosen = set(random.Random(0 if seed is None else seed).sample(list(ids), count))
    return [each for each in ids if each in chosen]


def read_lines(path: Path) -> list[Record]:
    """Return the records of a JSON Lines file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def write_lines(path: Path, records: Iterable[Record]) -> None:
    """Write records and see them on the disk: a finished phase is not run again."""
    with path.open("w", encoding="ascii") as lines:
        lines.writelines(json.dumps(record) + "\n" for record in records)
        lines.flush()
        os.fsync(lines.fileno())


def write_json(path: Path, value: Any) -> None:
    """Replace a file as one step, so that a kill leaves the old one or the new one."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)
