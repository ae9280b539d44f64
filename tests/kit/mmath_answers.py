"""Print an answer table for MMATH, inside the image: mmath_answers.py LANGUAGE LIMIT."""

import json
import sys
from pathlib import Path


def main(language: str, limit: int) -> None:
    """Write one line per problem, in the order in which they are asked."""
    problems = json.loads(Path(f"/opt/data/mmath/{language}.json").read_text(encoding="utf-8"))
    for problem in problems[:limit]:
        item = {"id": f"mmath/{problem['gid']}", "match": problem["question"], "kind": "generate"}
        answers = {"right": f"\\boxed{{{problem['answer']}}}", "wrong": "\\boxed{-12345}"}
        sys.stdout.write(json.dumps({**item, **answers}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
