"""docs/reference/document.md: every key of the document, from the models."""

import json
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from scripts.reference.markdown import code, page, section, table

from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.params import DEFAULT_PARAMS, Params
from evaldock_entrypoints.contract.validation import aliases, models_in

_INTRODUCTION = """\
Every key of a document (`evaldock/v1`). All of them may be left out. Unknown keys are errors.

Later layers go over earlier ones: harness, task, documents in order, flags, `-o key=value`. Mappings merge,
lists are replaced, `null` unsets a value. `evaldock run --explain` prints each final value with where it was
set. The same as a JSON Schema, for editors: `evaldock schema`, or
[document.v1.schema.json](document.v1.schema.json). What a harness takes under `params.extra` stands in
[tasks](tasks.md)."""
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
_WORDS: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Any: "anything",
}


def text() -> str:
    """Return the page."""
    seen: dict[type[BaseModel], str] = {}
    sections = [_section(name, info, seen) for name, info in Document.model_fields.items()]
    return page("The document", _INTRODUCTION, sections)


def _section(name: str, info: FieldInfo, seen: dict[type[BaseModel], str]) -> str:
    inner = models_in(info.annotation)
    rows = list(_rows(inner[0], name, seen)) if inner else [row(name, name, info, {})]
    about = f"{(info.description or '').capitalize()}."
    return section(name, about, table(("key", "value", "default", "meaning"), rows))


def _rows(
    model: type[BaseModel], prefix: str, seen: dict[type[BaseModel], str]
) -> Iterator[tuple[str, str, str, str]]:
    seen[model] = prefix
    defaults = DEFAULT_PARAMS if model is Params else {}
    for name, info in model.model_fields.items():
        key = f"{prefix}.{name}"
        inner = models_in(info.annotation)
        if not inner:
            yield row(key, name, info, defaults)
        elif inner[0] in seen:
            yield code(key), f"the keys of `{seen[inner[0]]}`", "", info.description or ""
        else:
            yield row(key, name, info, defaults)
            yield from _rows(inner[0], key + _item(info.annotation), seen)


def _item(annotation: Any) -> str:
    """Return how an item of the container is written: [] of a list, .NAME of a mapping."""
    kinds = {typing.get_origin(one) for one in _branches(annotation)}
    return "[]" if list in kinds else ".NAME" if dict in kinds else ""


def row(key: str, name: str, info: FieldInfo, defaults: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Return key, value, default and meaning of a field."""
    others = ", ".join(code(other) for other in aliases(name, info))
    spelled = f"{code(key)} (also {others})" if others else code(key)
    default = defaults.get(name, info.get_default(call_default_factory=True))
    shown = "required" if info.is_required() else _shown(default)
    return spelled, _value(info), shown, info.description or ""


def _value(info: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(bound, name):g}"
        for bound in info.metadata
        for name, sign in _BOUNDS.items()
        if isinstance(
            bound, annotated_types.Ge | annotated_types.Gt | annotated_types.Le | annotated_types.Lt
        )
        and hasattr(bound, name)
    ]
    return ", ".join([kind(info.annotation), *bounds])


def kind(annotation: Any) -> str:
    """Return in words what values an annotation takes; null goes without saying."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return kind(inside[0])
    if origin is Literal:
        return " or ".join(code(str(one)) for one in inside)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(kind(one) for one in _branches(annotation)))
    if origin is list:
        return f"list of {kind(inside[0])}"
    if origin is dict:
        return "mapping" if inside[1] is Any else f"mapping of names to {kind(inside[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "object"
    return _WORDS[annotation]


def _branches(annotation: Any) -> list[Any]:
    """Return the branches of a union without null; of anything else, itself."""
    if typing.get_origin(annotation) is Annotated:
        return _branches(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [one for one in typing.get_args(annotation) if one is not type(None)]
    return [annotation]


def _shown(default: Any) -> str:
    match default:
        case None | BaseModel():
            return ""
        case bool():
            return code(str(default).lower())
        case float():
            return code(f"{default:g}")
        case str() if not default.isprintable():
            return code(json.dumps(default))
        case _:
            return code(str(default))
