"""The fake endpoint's answers to cases of BFCL, made from the questions and the possible answers."""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

VERSION = "BFCL_v4"
WRONG = "no_such_function"

Mode = Literal["native", "prompt"]
Call = tuple[str, dict[str, Any]]


def write_answers(data: Path, category: str, mode: Mode, ids: Collection[str], path: Path) -> Path:
    """Write the table of these cases. In native mode an answer is one call at most."""
    rows = [_row(case, mode, category) for case in cases(data, category) if case["id"] in ids]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def cases(data: Path, category: str) -> Iterator[dict[str, Any]]:
    """Yield a category's cases with the calls that are right, none where right is to call nothing."""
    name = f"{VERSION}_{category}.json"
    answers = data / VERSION / "possible_answer" / name
    right = {row["id"]: row["ground_truth"] for row in _lines(answers)} if answers.is_file() else {}
    for row in _lines(data / VERSION / name):
        yield {**row, "calls": [_call(call) for call in right.get(row["id"], [])]}


def _row(case: Mapping[str, Any], mode: Mode, category: str) -> dict[str, Any]:
    row = {"id": case["id"], "match": case["question"][0][-1]["content"].strip(), "kind": "generate"}
    wrong: Call = (WRONG, {"x": 1})
    if not case["calls"]:
        wrong = (case["function"][0]["name"], {})
    row |= {"right": _text(case["calls"], category) or "None fits.", "wrong": _text([wrong], category)}
    if mode == "native" and case["calls"]:
        row |= {"tool_call": _tool_call(case["calls"][0]), "wrong_tool_call": _tool_call(wrong)}
    return row


def _call(truth: Mapping[str, Mapping[str, list[Any]]]) -> Call:
    """Return the call with the first of each argument's possible values; "" means that it may be left out."""
    ((name, arguments),) = truth.items()
    return name, {key: _first(values) for key, values in arguments.items() if values[0] != ""}


def _first(values: list[Any]) -> Any:
    value = values[0]
    if isinstance(value, dict):
        return {key: _first(found) for key, found in value.items() if found[0] != ""}
    if isinstance(value, list):
        return [_first([one]) for one in value]
    return value


def _text(calls: Collection[Call], category: str) -> str:
    write = json.dumps if category in ("simple_java", "simple_javascript") else repr
    written = [
        f"{name}({', '.join(f'{key}={write(value)}' for key, value in arguments.items())})"
        for name, arguments in calls
    ]
    return f"[{', '.join(written)}]" if written else ""


def _tool_call(call: Call) -> dict[str, Any]:
    name, arguments = call
    return {"name": name.replace(".", "_"), "arguments": arguments}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line:
            yield json.loads(line)
