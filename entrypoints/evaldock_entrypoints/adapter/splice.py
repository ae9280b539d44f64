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
_MOST_REPLACED = 4
_SPACED, _HEAD_BYTES = b'": ', 64


class _OtherShapeError(Exception):
    """More has changed than a few texts."""


@dataclass(frozen=True, slots=True)
class _Member:
    """One member of an object: its key, and where key and value stand in the text."""

    key: str
    start: int
    value: int
    end: int


def spliced(raw: bytes, old: Mapping[str, Any], new: Mapping[str, Any]) -> bytes:
    """Return `raw`, which says `old`, changed to say `new`; raises TypeError where `new` is no JSON."""
    before, after = orjson.dumps(old), orjson.dumps(new)
    if before == after:
        return raw
    if before == raw:  # written as orjson writes: then so is all that did not change
        return after
    longer = _with_items_put_first(raw, old, new, after)
    if longer is not None:
        return longer
    if _SPACED in raw[:_HEAD_BYTES] and json.dumps(old).encode() == raw:  # as the standard library does
        return json.dumps(new).encode()
    replaced = _with_texts_replaced(raw, old, new)
    if replaced is not None and (not _spells_freely(raw) or orjson.dumps(orjson.loads(replaced)) == after):
        return replaced
    try:
        text = raw.decode()
        return _object(text, _skip(text, 0), old, new).encode()
    except (RecursionError, UnicodeError):
        return after


def _with_items_put_first(
    raw: bytes, old: Mapping[str, Any], new: Mapping[str, Any], after: bytes
) -> bytes | None:
    """Return `raw` with items before those of one of its lists, as a system message is put in; else None."""
    key = _grown_list(old, new)
    if key is None:
        return None
    items = new[key][: len(new[key]) - len(old[key])]
    for colon in (b": [", b":["):
        before, mark, rest = raw.partition(orjson.dumps(key) + colon)
        if mark:
            written = orjson.dumps(items)[1:-1] + (b"," if old[key] else b"")
            longer = before + mark + written + rest
            return longer if orjson.dumps(orjson.loads(longer)) == after else None
    return None


def _grown_list(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Return the key of the list that became longer, if that is all that changed."""
    if old.keys() != new.keys():
        return None
    changed = [key for key, value in new.items() if value != old[key]]
    if len(changed) != 1:
        return None
    before, after = old[changed[0]], new[changed[0]]
    is_longer = isinstance(before, list) and isinstance(after, list) and len(after) > len(before)
    return changed[0] if is_longer else None


def _with_texts_replaced(raw: bytes, old: Any, new: Any) -> bytes | None:
    """Return `raw` with a few texts changed, None where more has changed or a text cannot be told apart."""
    changes: list[tuple[str, str]] = []
    try:
        _changed_texts(old, new, changes)
    except _OtherShapeError:
        return None
    for before, after in changes:
        wanted = _written(before, raw)
        if wanted is None:
            return None
        raw = raw.replace(wanted, orjson.dumps(after))
    return raw


def _spells_freely(raw: bytes) -> bool:
    """Tell whether texts may stand in a form of several: what was found may then be another one's."""
    return b"\\u" in raw or b"\\/" in raw


def _changed_texts(old: Any, new: Any, changes: list[tuple[str, str]]) -> None:
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        for key, value in old.items():
            _changed_texts(value, new[key], changes)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for one, other in zip(old, new, strict=True):
            _changed_texts(one, other, changes)
    elif type(old) is not type(new) or old != new:
        if not isinstance(old, str) or not isinstance(new, str) or len(changes) == _MOST_REPLACED:
            raise _OtherShapeError
        changes.append((old, new))


def _written(text: str, raw: bytes) -> bytes | None:
    """Return the form in which a text stands in the bytes, if it is there once and so is surely meant."""
    found = [form for form in {orjson.dumps(text), json.dumps(text).encode()} if form in raw]
    return found[0] if len(found) == 1 and raw.count(found[0]) == 1 else None


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
            changed = _changed(text[member.value : member.end], before, after)
            pieces.append(text[member.start : member.value] + changed)
    pieces += [f"{_dumped(key)}:{_dumped(value)}" for key, value in new.items() if key not in last]
    return "{" + ",".join(pieces) + "}"


def _array(text: str, old: Sequence[Any], new: Sequence[Any]) -> str:
    """Return a list in which items changed, or stand before or behind those that were there."""
    spans = [text[at:end] for at, end in _elements(text)]
    if len(new) == len(old):
        pairs = zip(spans, old, new, strict=True)
        return _listed([one if _same(a, b) else _changed(one, a, b) for one, a, b in pairs])
    if old and len(new) > len(old):
        for first in (len(new) - len(old), 0):  # as a system message is put in, and as a turn is added
            if _same(old, new[first : first + len(old)]):
                return _listed([*map(_dumped, new[:first]), *spans, *map(_dumped, new[first + len(old) :])])
    return _dumped(new)


def _listed(items: Sequence[str]) -> str:
    return "[" + ",".join(items) + "]"


def _changed(text: str, old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        return _object(text, 0, old, new)
    if isinstance(old, list) and isinstance(new, list):
        return _array(text, old, new)
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


def _elements(text: str) -> Iterator[tuple[int, int]]:
    at = _skip(text, 1)
    while text[at] != "]":
        _, end = _scan_once(text, at)
        yield at, end
        at = _next(text, end)


def _next(text: str, end: int) -> int:
    """Return where the next member begins, or the closing bracket stands."""
    at = _skip(text, end)
    return _skip(text, at + 1) if text[at] == "," else at


def _skip(text: str, at: int) -> int:
    if text[at] > " ":
        return at
    space = _SPACE.match(text, at)
    return space.end() if space else at
