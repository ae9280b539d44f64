"""Write the fake endpoint's answers for lm-eval: answer_tables.py DATA_DIR TASK [LIMIT] > answers.jsonl.

Run it with an interpreter that has pyarrow, such as the harness's own. Items come in the order in which
lm-eval asks them, so LIMIT covers what `limit_samples` of the same number asks. `group` is what a share is
exact within: the task, or the subject of MMLU. An item whose prompt an earlier item already has is left out
and named on standard error, for no table could tell the two apart.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

Row = dict[str, Any]
LETTERS = "ABCD"


def choice(match: str, choices: list[str], right: int) -> Row:
    """Return a line answered by log-probabilities."""
    return {"match": match, "kind": "choice", "choices": choices, "right": right}


def arc(row: Row) -> Row:
    """Return the line of an ARC question."""
    options = row["choices"]
    match = f"Question: {row['question']}\nAnswer:"
    return choice(match, options["text"], options["label"].index(row["answerKey"]))


def hellaswag(row: Row) -> Row:
    """Return the line of a HellaSwag context, with lm-eval's own cleaning."""
    context = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    return choice(_cleaned(context), [_cleaned(ending) for ending in row["endings"]], int(row["label"]))


def _cleaned(text: str) -> str:
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def winogrande(row: Row) -> Row:
    """Return the line of a sentence: lm-eval scores what follows the blank, once after each option."""
    before, after = row["sentence"].split("_")
    choices = [f"{row[option]} {after.strip()}" for option in ("option1", "option2")]
    return choice(before.strip(), choices, int(row["answer"]) - 1)


def mmlu(row: Row) -> Row:
    """Return the line of an MMLU question, answered by its letter."""
    options = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, row["choices"], strict=True))
    return choice(f"{row['question'].strip()}\n{options}\nAnswer:", list(LETTERS), row["answer"])


def gsm8k(row: Row) -> Row:
    """Return the line of a word problem; both filters of gsm8k and of gsm8k_cot read the same number."""
    number = row["answer"].rsplit("#### ", 1)[1]
    wrong = int(number.replace(",", "")) + 1
    texts = {name: f"#### {n}\nThe answer is {n}." for name, n in (("right", number), ("wrong", wrong))}
    return {"match": row["question"].strip(), "kind": "generate", **texts}


def humaneval(row: Row) -> Row:
    """Return the line of a problem, answered by the function's body alone."""
    right, wrong = row["canonical_solution"], "    return None\n"
    return {"match": row["prompt"].strip(), "kind": "generate", "right": right, "wrong": wrong}


def humaneval_instruct(row: Row) -> Row:
    """Return the line of a problem whose answer goes on in an open fence."""
    line = humaneval(row)
    return {**line, "right": f"{line['right']}```\nDone.", "wrong": f"{line['wrong']}```"}


def mbpp(row: Row) -> Row:
    """Return the line of a task; the carriage returns of some solutions are no harm to Python."""
    texts = {"right": f"{row['code']}\n[DONE]", "wrong": "pass\n[DONE]"}
    return {"match": row["text"].strip() + " Your code should pass", "kind": "generate", **texts}


def mbpp_instruct(row: Row) -> Row:
    """Return the line of a task whose answer goes on in an open fence.

    lm-eval takes a word that directly follows for the fence's language, so answers begin with a line break.
    """
    texts = {"right": f"\n{row['code']}\n```", "wrong": "\npass\n```"}
    return {"match": f"{row['text'].strip()}\nYour code should pass", "kind": "generate", **texts}


def math(row: Row) -> Row:
    """Return the line of a problem in the form that both metrics of minerva_math read."""
    answer = row["answer"]
    texts = {"right": f"${answer}$", "wrong": "$1234567$"}
    said = {
        name: f"Final Answer: The final answer is {text}. I hope it is correct."
        for name, text in texts.items()
    }
    return {"match": row["problem"], "kind": "generate", **said}


TASKS: dict[str, tuple[str, Callable[[Row], Row]]] = {
    "arc_easy": ("allenai/ai2_arc/ARC-Easy/test", arc),
    "arc_challenge": ("allenai/ai2_arc/ARC-Challenge/test", arc),
    "hellaswag": ("Rowan/hellaswag/default/validation", hellaswag),
    "winogrande": ("allenai/winogrande/winogrande_xl/validation", winogrande),
    "mmlu": ("cais/mmlu/*/test", mmlu),
    "gsm8k": ("openai/gsm8k/main/test", gsm8k),
    "gsm8k_cot": ("openai/gsm8k/main/test", gsm8k),
    "humaneval": ("openai/openai_humaneval/default/test", humaneval),
    "humaneval_instruct": ("openai/openai_humaneval/default/test", humaneval_instruct),
    "mbpp": ("google-research-datasets/mbpp/full/test", mbpp),
    "mbpp_instruct": ("google-research-datasets/mbpp/full/test", mbpp_instruct),
    "minerva_math500": ("HuggingFaceH4/MATH-500/default/test", math),
}


def lines(data: Path, task: str, limit: int | None) -> Iterator[Row]:
    """Yield the lines of a task, the first `limit` items of each of its files."""
    pattern, line_of = TASKS[task]
    for file in sorted(data.glob(f"{pattern}-*.parquet")):
        group = f"mmlu_{file.parent.name}" if task == "mmlu" else task
        rows = pq.read_table(file).slice(0, limit).to_pylist()
        for number, row in enumerate(rows):
            yield {"id": f"{group}/{number}", "group": group, **line_of(row)}


def distinct(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the lines whose match no earlier line has."""
    seen: set[str] = set()
    for row in rows:
        if row["match"] in seen:
            sys.stderr.write(f"{row['id']}: left out, its prompt is that of an earlier item\n")
            continue
        seen.add(row["match"])
        yield row


def main(arguments: list[str]) -> None:
    """Write one JSON line per item."""
    if len(arguments) not in (2, 3) or arguments[1] not in TASKS:
        sys.exit(f"usage: answer_tables.py DATA_DIR {'|'.join(TASKS)} [LIMIT]")
    limit = int(arguments[2]) if len(arguments) == 3 else None
    for row in distinct(lines(Path(arguments[0]), arguments[1], limit)):
        sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
