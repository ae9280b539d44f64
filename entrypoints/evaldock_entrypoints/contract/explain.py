"""Every value of a document with where it was set, for --explain."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.layers import KeyPath, Merged, dotted
from evaldock_entrypoints.contract.tasks import Value

Row = tuple[str, Any, str]
_LISTED_APART = (("evaluation", "tasks"), ("evaluation", "params"))


def document_rows(document: Document, merged: Merged) -> list[Row]:
    """Return (key, value, origin) of every section but the tasks and their parameters."""
    return [
        (dotted(path), value, merged.origins.get(path) or _inside(merged, path) or "default")
        for path, value in _leaves(document, ())
        if path[:2] not in _LISTED_APART
    ]


def task_rows(name: str, params: Mapping[str, Value], extras: Mapping[str, Value]) -> list[Row]:
    """Return (key, value, origin) of a task's effective parameters."""
    plain = [(f"{name}.params.{key}", value.value, value.origin) for key, value in params.items()]
    extra = [(f"{name}.params.extra.{key}", value.value, value.origin) for key, value in extras.items()]
    return plain + extra


def as_text(rows: list[Row]) -> str:
    """Return aligned lines `key = value   # origin`."""
    left = [f"{key} = {_shown(value)}" for key, value, _ in rows]
    width = min(max(map(len, left), default=0), 72)
    return "\n".join(f"{text:{width}}  # {row[2]}" for text, row in zip(left, rows, strict=True))


def as_json(rows: list[Row]) -> str:
    """Return a JSON list of {key, value, origin}."""
    found = [{"key": key, "value": value, "origin": origin} for key, value, origin in rows]
    return json.dumps(found, indent=2, default=_plain)


def _plain(model: BaseModel) -> Any:
    return model.model_dump(mode="json", exclude_unset=True)


def _leaves(model: BaseModel, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, (*path, name))
        elif isinstance(value, dict) and any(isinstance(item, BaseModel) for item in value.values()):
            for key, item in value.items():
                yield from _leaves(item, (*path, name, key))
        else:
            yield (*path, name), value


def _inside(merged: Merged, path: KeyPath) -> str | None:
    """Return where a list's or mapping's first item was written."""
    depth = len(path)
    return next((where for known, where in merged.origins.items() if known[:depth] == path), None)


def _shown(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list() | dict():
            return json.dumps(value, default=_plain, ensure_ascii=False)
        case _:
            return str(value)
