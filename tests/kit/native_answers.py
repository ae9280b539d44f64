"""Write the fake endpoint's answers for native: native_answers.py TASK [COUNT SEED] > answers.jsonl.

Run it in the harness's image, whose own files and data it reads. What is right of a sum is computed here.
"""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
WRONG = "Answer: 987654321"  # no question's answer


def made(task: str, count: int, seed: int) -> Iterator[Row]:
    """Yield the lines of made questions."""
    sys.path.insert(0, "/opt/harness-files")
    for item in importlib.import_module("procedural").made_items(task, count, seed):
        question = item.prompt
        if task == "arithmetic":
            right = str(eval(question.removeprefix("What is ").removesuffix("?")))
        else:
            right = item.targets[0]
        answers = {"right": f"Let me see. Answer: {right}", "wrong": WRONG}
        yield {"id": item.id, "match": question, "kind": "generate", **answers}


def shipped(task: str) -> Iterator[Row]:
    """Yield the lines of the image's own questions; the only pattern among their targets is met by "D, E"."""
    for line in Path(f"/opt/data/{task}/test.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        about = {"id": row["id"], "match": row["prompt"]}
        if "choices" in row:
            match = {**about, "match": f"Question: {row['prompt']}\nAnswer:"}
            yield {**match, "kind": "choice", "choices": row["choices"], "right": row["right"]}
        else:
            right = "D, E" if row["scorer"] == "regex" else row["targets"][0]
            yield {**about, "kind": "generate", "right": right, "wrong": WRONG}


def main(task: str, *numbers: str) -> None:
    """Write one JSON line per question."""
    rows = made(task, *map(int, numbers)) if numbers else shipped(task)
    for row in rows:
        sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
