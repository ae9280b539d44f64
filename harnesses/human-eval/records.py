"""The files that the two phases share: which problems are asked, and what came back."""

import gzip
import json
import math
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Record = dict[str, Any]  # one line of generations.jsonl; README.md lists its fields
Key = tuple[str, int]  # problem id, repeat

SELECTION = "selection.json"
GENERATIONS = "generations.jsonl"


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


def read_records(path: Path) -> dict[Key, Record]:
    """Return the record of each question; the phase that wrote them has finished."""
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    return {(record["id"], record["repeat"]): record for record in records}
