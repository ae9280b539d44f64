"""Writes a changed JSON object back so that every member nobody changed keeps the very bytes it came with."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

import orjson

_SPACE = re.compile(r"[ \t\n\r]*")
# The C scanner says where a value ends.
_scan_once = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class _Member:
    """One member of an object: its key, and where key and value stand in the text."""

    key: str
    start: int
    value: int
    end: int


def spliced(raw: bytes, old: Mapping[str, Any], new: Mapping[str, Any]) -> bytes:
    """Return `raw`, which says `old`, changed to say `new`; raises TypeError where `new` is no JSON."""
    if _same(old, new):
        return raw
    try:
        text = raw.decode()
        return _object(text, _skip(text, 0), old, new).encode()
    except (RecursionError, UnicodeError):
        return orjson.dumps(new)


def _object(text: str, start: int, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    members = list(_members(text, start))
    last = {member.key: member for member in members}  # of a key that stands twice the last one counts
    pieces = []
    for member in members:
        if member.key not in new:
            continue
        before, after = old[member.key], new[member.key]
        if _same(before, after):
            pieces.append(text[member.start : member.end])
        elif member is last[member.key]:
            pieces.append(text[member.start : member.value] + _changed(text, member.value, before, after))
    pieces += [f"{_dumped(key)}:{_dumped(value)}" for key, value in new.items() if key not in last]
    return "{" + ",".join(pieces) + "}"


def _array(text: str, start: int, old: Sequence[Any], new: Sequence[Any]) -> str:
    pieces = []
    for index, (at, end) in enumerate(_elements(text, start)):
        if _same(old[index], new[index]):
            pieces.append(text[at:end])
        else:
            pieces.append(_changed(text, at, old[index], new[index]))
    return "[" + ",".join(pieces) + "]"


def _changed(text: str, start: int, old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        return _object(text, start, old, new)
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return _array(text, start, old, new)
    return _dumped(new)


def _same(old: Any, new: Any) -> bool:
    """Tell whether two values are alike down to their types: 1, 1.0 and true are three."""
    return orjson.dumps(old) == orjson.dumps(new)


def _dumped(value: Any) -> str:
    return orjson.dumps(value).decode()


def _members(text: str, start: int) -> Iterator[_Member]:
    at = _skip(text, start + 1)
    while text[at] != "}":
        key, end = scanstring(text, at + 1, True)
        value = _skip(text, _skip(text, end) + 1)  # past the colon
        _, end = _scan_once(text, value)
        yield _Member(key, at, value, end)
        at = _next(text, end)


def _elements(text: str, start: int) -> Iterator[tuple[int, int]]:
    at = _skip(text, start + 1)
    while text[at] != "]":
        _, end = _scan_once(text, at)
        yield at, end
        at = _next(text, end)


def _next(text: str, end: int) -> int:
    """Return where the next member begins, or the closing bracket stands."""
    at = _skip(text, end)
    return _skip(text, at + 1) if text[at] == "," else at


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at
