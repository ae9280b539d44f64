"""Reads YAML as its version 1.2 does, bounded, with the line of every value.

PyYAML resolves scalars as YAML 1.1: `no` is false, 010 is 8, 1:30 is 90, 1e3 is text. Here plain scalars
follow the 1.2 core schema (https://yaml.org/spec/1.2.2/#103-core-schema), but numbers that begin with a
superfluous 0 stay text, because the two versions read them differently.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import KeyPath, Layer, dotted

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_BYTES = 256 * 1024
_MAX_NODES = 20_000
_MAX_DEPTH = 40
_MAX_DIGITS = 40
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True, kw_only=True)
class _Scalar:
    line: int
    text: str
    tag: str | None  # as written; None where the text itself decides
    quoted: bool


@dataclass(frozen=True, kw_only=True)
class _Sequence:
    line: int
    items: "list[_Node]"


@dataclass(frozen=True, kw_only=True)
class _Mapping:
    line: int
    items: "list[tuple[_Node, _Node]]"


_Node = _Scalar | _Sequence | _Mapping


@dataclass(kw_only=True)
class _Composer:
    """Turns parser events into nodes, one recursion per level, bounded."""

    name: str
    events: Iterator[yaml.Event]
    anchors: dict[str, _Node] = field(default_factory=dict)

    def node(self, event: yaml.Event, depth: int) -> _Node:
        if depth > _MAX_DEPTH:
            raise UsageError(
                f"{self.name} is nested too deeply",
                where=f"{self.name}:{_line(event)}",
                next_step="no key of a document lies that deep",
            )
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        node = self._new(event, depth)
        if anchor := getattr(event, "anchor", None):
            self.anchors[anchor] = node
        return node

    def _alias(self, event: yaml.AliasEvent) -> _Node:
        if event.anchor not in self.anchors:
            raise UsageError(
                f'the alias "*{event.anchor}" has no anchor',
                where=f"{self.name}:{_line(event)}",
                next_step=f"put &{event.anchor} before the value it means, above",
            )
        return self.anchors[event.anchor]

    def _new(self, event: yaml.Event, depth: int) -> _Node:
        match event:
            case yaml.ScalarEvent():
                quoted = not event.implicit[0] and event.tag is None
                return _Scalar(line=_line(event), text=event.value, tag=event.tag, quoted=quoted)
            case yaml.SequenceStartEvent():
                return _Sequence(line=_line(event), items=list(self._items(depth + 1)))
            case _:
                keys_and_values = list(self._items(depth + 1))
                pairs = zip(keys_and_values[::2], keys_and_values[1::2], strict=True)
                return _Mapping(line=_line(event), items=list(pairs))

    def _items(self, depth: int) -> Iterator[_Node]:
        for event in self.events:
            if isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
                return
            yield self.node(event, depth)


def _line(event: yaml.Event) -> int:
    return (event.start_mark.line if event.start_mark else 0) + 1


def load_yaml(path: Path) -> Layer:
    """Read one YAML file with the line of every key; raises UsageError."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", where=str(path), next_step="check the path"
        ) from error
    return parse_yaml(text, str(path))


def parse_yaml(text: bytes | str, name: str) -> Layer:
    """Parse one YAML document; raises UsageError on malformed, doubled, oversized or non-mapping input."""
    if len(text) > _MAX_BYTES:
        raise UsageError(
            f"{name} is larger than {_MAX_BYTES // 1024} KiB", where=name, next_step="is it a document?"
        )
    root = _compose(text, name)
    reader = _Reader(name)
    tree = {} if root is None else reader.value(root, ())
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise UsageError(
            "the document is not a mapping",
            where=f"{name}:1",
            next_step="begin with evaluation: {tasks: […]}",
        )
    return Layer(tree=tree, origins=reader.origins, name=name)


def _compose(text: bytes | str, name: str) -> _Node | None:
    try:
        events = yaml.parse(text, Loader=_LOADER)  # type: ignore[no-untyped-call, unused-ignore]
        documents = [_document(name, events) for event in events if _starts(event)]
    except (yaml.YAMLError, UnicodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{name}:{mark.line + 1}" if mark else name
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise UsageError(
            f"malformed YAML: {what}",
            where=line,
            next_step=next((step for word, step in _STEPS.items() if word in str(what)), _CLOSE),
        ) from error
    return documents[0] if documents else None


_CLOSE = "close what is open, and quote text that holds : or #"
_STEPS = {  # by a word of what libyaml says
    "cannot start any token": "indent with spaces, not tabs, and quote text that begins with @, % or `",
    "UTF-8": "save the file as text in UTF-8",
    "control characters": "save the file as text in UTF-8",
}


def _starts(event: yaml.Event) -> bool:
    return isinstance(event, yaml.DocumentStartEvent)


def _document(name: str, events: Iterator[yaml.Event]) -> _Node:
    root = _Composer(name=name, events=events).node(next(events), 0)
    next(events)  # the document's end
    following = next(events)
    if _starts(following):
        raise UsageError(
            f"{name} holds several documents",
            where=f"{name}:{_line(following)}",
            next_step="keep one per file; `evaldock run a.yaml b.yaml` lays the second over the first",
        )
    return root


class _Reader:
    """Turns nodes into values and remembers the line of each."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.origins: dict[KeyPath, str] = {}
        self._nodes = 0

    def value(self, node: _Node, path: KeyPath) -> Any:
        self._nodes += 1  # aliases are walked again each time they are used, so a bomb ends here
        if self._nodes > _MAX_NODES:
            raise UsageError(
                f"{self.name} holds more than {_MAX_NODES} values",
                where=self.name,
                next_step="repeat less with aliases, or split the document",
            )
        self.origins[path] = f"{self.name}:{node.line}"
        match node:
            case _Mapping():
                return self._mapping(node, path)
            case _Sequence():
                return [self.value(item, (*path, index)) for index, item in enumerate(node.items)]
            case _Scalar():
                return self._scalar(node)

    def _mapping(self, node: _Mapping, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.items:
            if not isinstance(key_node, _Scalar):
                raise UsageError(
                    "a key is not a word", where=f"{self.name}:{key_node.line}", next_step="write key: value"
                )
            key, line = key_node.text, f"{self.name}:{key_node.line}"
            if key == "<<" and not key_node.quoted:
                merged |= self._merged(value_node, path)
                continue
            if key in result:
                raise UsageError(
                    f'the key "{key}" stands twice',
                    where=f"{line}  {dotted((*path, key))}",
                    next_step="remove one of them",
                )
            result[key] = self.value(value_node, (*path, key))
            self.origins[(*path, key)] = line
        return {**merged, **result}

    def _merged(self, node: _Node, path: KeyPath) -> dict[str, Any]:
        """Return what `<<: *anchor` brings in; keys of the mapping itself go first."""
        result: dict[str, Any] = {}
        for source in node.items if isinstance(node, _Sequence) else [node]:
            if not isinstance(source, _Mapping):
                raise UsageError(
                    "<< needs a mapping", where=f"{self.name}:{node.line}", next_step="write <<: *ANCHOR"
                )
            result = {**self._mapping(source, path), **result}
        return result

    def _scalar(self, node: _Scalar) -> Any:
        if node.quoted or node.tag in ("!", "tag:yaml.org,2002:str"):
            return node.text
        value = plain_value(node.text)
        if isinstance(value, _KINDS.get(node.tag, ())):
            return value
        shown = node.text if len(node.text) <= _MAX_DIGITS else node.text[:_MAX_DIGITS] + "…"
        raise UsageError(
            f"cannot read the value {shown!r}{f' as {node.tag}' if node.tag else ''}",
            where=f"{self.name}:{node.line}",
            next_step="put text into quotes",
        )


_KINDS: dict[str | None, tuple[type, ...]] = {
    None: (str, int, float, bool, type(None)),
    "tag:yaml.org,2002:int": (int,),
    "tag:yaml.org,2002:float": (int, float),
    "tag:yaml.org,2002:bool": (bool,),
    "tag:yaml.org,2002:null": (type(None),),
}
_UNREADABLE = object()


def plain_value(text: str) -> Any:
    """Return what an unquoted scalar stands for; text where it is no null, boolean or number."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _MAX_DIGITS:
        return _UNREADABLE if text.lstrip("+-").isdigit() else text
    if _INTEGER.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text
