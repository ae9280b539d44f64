"""What the toy harness asks, as an answer table of the fake endpoint."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path


def toy_answers(folder: Path, right_at: Mapping[int, Sequence[int]] | None = None) -> Path:
    """Write the right and the wrong answer of each of the twenty sums; return the table.

    right_at: which times that it is asked a sum is answered right, from 0; without, the share decides.
    """
    rows = [
        {"id": str(n), "match": f"What is {n} + {n}?", "kind": "generate", "right": str(2 * n), "wrong": "no"}
        | ({} if right_at is None else {"right_at": right_at[n]})
        for n in range(20)
    ]
    table = folder / "toy.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return table
