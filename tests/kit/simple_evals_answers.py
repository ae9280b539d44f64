"""Print an answer table for simple-evals, inside the image: mmlu|math|judge|humaneval LIMIT."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

DATA = Path("/opt/data")
LETTERS = "ABCD"
WRONG = "-777"


def mmlu(limit: int) -> Iterator[dict[str, str]]:
    """Yield the questions in the order in which they are asked."""
    table = pq.read_table(DATA / "cais/mmlu/all/test-00000-of-00001.parquet").slice(0, limit)
    for row in table.to_pylist():
        options = "\n".join(f"{letter}) {text}" for letter, text in zip(LETTERS, row["choices"], strict=True))
        letter = LETTERS[row["answer"]]
        yield {
            "match": f"{row['question']}\n\n{options}",
            "right": f"Answer: {letter}",
            "wrong": f"Answer: {LETTERS[row['answer'] - 1]}",
        }


def _math(limit: int) -> list[dict[str, str]]:
    table = pq.read_table(DATA / "HuggingFaceH4/MATH-500/default/test-00000-of-00001.parquet")
    rows: list[dict[str, str]] = table.slice(0, limit).to_pylist()
    return rows


def math(limit: int) -> Iterator[dict[str, str]]:
    """Yield the problems; an answer has both forms that the tasks look for."""
    for row in _math(limit):
        shown = {name: f"\\boxed{{{text}}}\nAnswer: {text}" for name, text in _pair(row).items()}
        yield {"match": row["problem"], **shown}


def judge(limit: int) -> Iterator[dict[str, str]]:
    """Yield what the judge is asked of right answers; to all else it says something else than Yes."""
    for answer in dict.fromkeys(row["answer"] for row in _math(limit)):
        yield {
            "match": f"Expression 1: {answer}\n    Expression 2: {answer}",
            "right": "Yes",
            "wrong": "No",
        }


def humaneval(limit: int) -> Iterator[dict[str, str]]:
    """Yield the problems, answered as the wheel wants them: a fence with the whole function."""
    table = pq.read_table(DATA / "openai/openai_humaneval/default/test-00000-of-00001.parquet")
    for row in table.slice(0, limit).to_pylist():
        bodies = {"right": row["canonical_solution"], "wrong": "    return None\n"}
        shown = {name: f"```python\n{row['prompt']}{body}\n```" for name, body in bodies.items()}
        yield {"match": row["prompt"].strip(), **shown}


def _pair(row: dict[str, str]) -> dict[str, str]:
    return {"right": row["answer"], "wrong": WRONG}


def main(kind: str, limit: int) -> None:
    """Write one JSON line per item."""
    kinds = {"mmlu": mmlu, "math": math, "judge": judge, "humaneval": humaneval}
    for number, row in enumerate(kinds[kind](limit)):
        sys.stdout.write(json.dumps({"id": f"{kind}/{number}", "kind": "generate", **row}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
