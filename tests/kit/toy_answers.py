"""What the toy harness asks, as an answer table of the fake endpoint."""

import json
from pathlib import Path


def toy_answers(folder: Path) -> Path:
    """Write the right and the wrong answer of each of the twenty sums; return the table."""
    rows = [
        {"id": str(n), "match": f"What is {n} + {n}?", "kind": "generate", "right": str(2 * n), "wrong": "no"}
        for n in range(20)
    ]
    table = folder / "toy.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return table
