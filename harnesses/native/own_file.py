"""The user's own questions: a JSON Lines file, read whole and refused line by line where it is wrong."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from items import LETTERS, Item, Message, RefusedError, Scorer
from scoring import as_number

Row = dict[str, Any]
MOST_SHOWN = 10
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, kw_only=True)
class OwnFile:
    """What a file holds, and what it is known by. place: the parameter that names it."""

    place: str
    sha256: str
    items: tuple[Item, ...]


def read_own_file(path: Path, task: str, scorer: Scorer, extra: str) -> OwnFile:
    """Return the file's questions; raises RefusedError naming the lines that are wrong.

    extra: the name of the parameter that gave the path, and of the file: a mounted one has lost its own name.
    """
    place = f"params.extra.{extra}"
    try:
        content = path.read_bytes()
        lines = content.decode("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(f"{place}: {path} cannot be read: {error}") from error
    items = _items(place, lines, task, scorer)
    if not items:
        raise RefusedError(f"{place}: there is no row in it")
    return OwnFile(place=place, sha256=hashlib.sha256(content).hexdigest(), items=tuple(items))


def _items(place: str, lines: list[str], task: str, scorer: Scorer) -> list[Item]:
    items, wrong = [], []
    line_of: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            item = _item(line, task, scorer)
            if item.id in line_of:
                raise ValueError(f'the id "{item.id}" stands in line {line_of[item.id]} already')
        except ValueError as error:
            wrong.append(f"{place}:{number}: {error}")
            continue
        line_of[item.id] = number
        items.append(item)
    if wrong:
        more = [f"and {len(wrong) - MOST_SHOWN} more"] if len(wrong) > MOST_SHOWN else []
        raise RefusedError(*wrong[:MOST_SHOWN], *more)
    return items


def _item(line: str, task: str, scorer: Scorer) -> Item:
    """Return the question of one line; raises ValueError saying what is wrong with it."""
    try:
        row = json.loads(line, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error.msg} at column {error.colno}") from error
    if not isinstance(row, dict):
        raise ValueError("a row is a JSON object")
    asked: Mapping[str, Any] = {"id": _id(row), "prompt": _prompt(row), "messages": _messages(row)}
    if task == "multiple_choice":
        choices = _choices(row)
        right = _right(row, choices)
        return Item(**asked, scorer="letter", choices=choices, right=right, targets=(LETTERS[right],))
    return Item(**asked, scorer=scorer, targets=_targets(row, scorer))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _id(row: Row) -> str:
    value = row.get("id")
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise ValueError('"id" must be text or a whole number')
    return str(value)


def _prompt(row: Row) -> str | None:
    if ("prompt" in row) == ("messages" in row):
        raise ValueError('give either "prompt" or "messages"')
    if "messages" in row:
        return None
    prompt = row["prompt"]
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError('"prompt" must be text, and not empty')
    return prompt


def _messages(row: Row) -> tuple[Message, ...]:
    if "messages" not in row:
        return ()
    messages = row["messages"]
    if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        raise ValueError(f'"messages" must be a list of {{"role": {" | ".join(ROLES)}, "content": text}}')
    if messages[-1]["role"] != "user":
        raise ValueError('the last of "messages" must be the user\'s')
    return tuple({"role": each["role"], "content": each["content"]} for each in messages)


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and value.get("role") in ROLES and isinstance(value.get("content"), str)


def _targets(row: Row, scorer: Scorer) -> tuple[str, ...]:
    value = row.get("target")
    values = value if isinstance(value, list) else [value]
    if not values or not all(map(_is_target, values)):
        raise ValueError('"target" must be text, a number, or a list of these, and not empty')
    targets = tuple(str(each) for each in values)
    for target in targets:
        _refuse_unfit(target, scorer)
    return targets


def _is_target(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, str | int | float) and bool(str(value).strip())


def _refuse_unfit(target: str, scorer: Scorer) -> None:
    match scorer:
        case "numeric" if as_number(target) is None:
            raise ValueError(f'scorer numeric: the target "{target}" is no number')
        case "letter" if len(target) != 1 or target not in LETTERS:
            raise ValueError(f'scorer letter: the target "{target}" is none of A to Z')
        case "regex":
            try:
                re.compile(target)
            except re.error as error:
                raise ValueError(f'scorer regex: the target "{target}" is no pattern: {error}') from error


def _choices(row: Row) -> tuple[str, ...]:
    choices = row.get("choices")
    if not isinstance(choices, list) or not 2 <= len(choices) <= len(LETTERS):
        raise ValueError(f'"choices" must be a list of 2 to {len(LETTERS)} texts')
    if not all(isinstance(each, str) and each.strip() for each in choices):
        raise ValueError('every one of "choices" must be text, and not empty')
    if len(set(choices)) < len(choices):
        raise ValueError('two of "choices" are the same')
    return tuple(choices)


def _right(row: Row, choices: tuple[str, ...]) -> int:
    answer = row.get("answer")
    if isinstance(answer, str) and len(answer) == 1 and answer in LETTERS[: len(choices)]:
        return LETTERS.index(answer)
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(choices):
        return answer
    raise ValueError(
        f'"answer" must be the right choice\'s number from 0 to {len(choices) - 1}, or its letter from A to '
        f"{LETTERS[len(choices) - 1]}, not {answer!r}"
    )
