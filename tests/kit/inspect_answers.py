"""Write the fake endpoint's answers for inspect-evals: inspect_answers.py DATA_DIR TASK [LIMIT].

Run it with an interpreter that has pyarrow, such as the harness's own. Items come in the data's order, as
with `sampling: head`. TASK "judge" is what a judge says about nq_open_judged: right is its GRADE: C.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

Row = dict[str, Any]
LETTERS = "ABCDE"


def gsm8k(row: Row) -> Row:
    """Return the line of a word problem; Inspect takes numbers for equal that agree in five digits."""
    number = row["answer"].rsplit("#### ", 1)[1]
    wrong = 2 * int(number.replace(",", "")) + 1
    return {"match": row["question"], "right": f"So it is.\nANSWER: {number}", "wrong": f"ANSWER: {wrong}"}


def arc(row: Row) -> Row:
    """Return the line of a question whose letter is asked."""
    options = row["choices"]["text"]
    right = row["choices"]["label"].index(row["answerKey"])
    listed = "\n".join(f"{letter}) {text}" for letter, text in zip(LETTERS, options, strict=False))
    return {
        "match": f"{row['question']}\n\n{listed}",
        "right": f"ANSWER: {LETTERS[right]}",
        "wrong": f"ANSWER: {LETTERS[(right + 1) % len(options)]}",
    }


def nq_open(row: Row) -> Row:
    """Return the line of a short question."""
    return {"match": f"sentence.\n\n{row['question']}?", "right": row["answer"][0], "wrong": "I cannot tell."}


def judge(row: Row) -> Row:
    """Return a verdict on the answer to a short question."""
    question = f"[Question]: {row['question']}?\n"
    return {"match": question, "right": "They agree.\nGRADE: C", "wrong": "They differ.\nGRADE: I"}


NQ_OPEN = "google-research-datasets/nq_open/default/validation"
TASKS: dict[str, tuple[str, Callable[[Row], Row]]] = {
    "gsm8k": ("openai/gsm8k/main/test", gsm8k),
    "arc_challenge": ("allenai/ai2_arc/ARC-Challenge/test", arc),
    "nq_open_judged": (NQ_OPEN, nq_open),
    "judge": (NQ_OPEN, judge),
}


def main(data: Path, task: str, limit: int | None) -> None:
    """Print the first `limit` lines of the task's table, all of them without a limit."""
    path, line = TASKS[task]
    rows = pq.read_table(data / f"{path}-00000-of-00001.parquet").to_pylist()
    for number, row in enumerate(rows[:limit]):
        sys.stdout.write(json.dumps({"id": f"{task}-{number}", "kind": "generate", **line(row)}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None)
