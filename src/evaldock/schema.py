"""JSON Schemas (draft 2020-12) of the files that people and evaldock write, for editors and checks."""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.files import SchemaFile
from evaldock_entrypoints.contract.results_schema import DIALECT, results_schema
from evaldock_entrypoints.contract.validation import aliases, nearest

# What pydantic leaves as it is where a validator of ours stands before the bound.
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_ABOUT = ("description", "default")
_NULL = {"type": "null"}


class _Untitled(GenerateJsonSchema):
    """pydantic's schema without the titles that repeat each key."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
        return False


class _BeforeMerging(_Untitled):
    """What a document may hold before layers are merged: every spelling of a key, null to unset it."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        tree = super().model_schema(schema)
        fields = schema["cls"].model_fields
        needed = set(tree.pop("required", ()))
        properties: dict[str, JsonSchemaValue] = {}
        rules: list[JsonSchemaValue] = []
        for name, value in tree.get("properties", {}).items():
            names = [name, *aliases(name, fields[name])]
            admitted = value if name in needed else _or_null(value)
            properties |= {name: admitted} | {other: _spelling_of(name, admitted) for other in names[1:]}
            rules += _rules(names, is_needed=name in needed)
        return {**tree, "properties": properties, **({"allOf": rules} if rules else {})}

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        tree = super().dict_schema(schema)
        for pattern, value in tree.pop("patternProperties", {}).items():  # which alone admits any other name
            tree |= {"propertyNames": {"pattern": pattern}, "additionalProperties": value}
        values = tree.get("additionalProperties")
        return {**tree, "additionalProperties": _or_null(values)} if isinstance(values, dict) else tree


def _spelling_of(name: str, value: JsonSchemaValue) -> JsonSchemaValue:
    return {**value, "description": f"another spelling of {name}"}


def _rules(names: list[str], *, is_needed: bool) -> Iterator[JsonSchemaValue]:
    """Yield what `required` cannot say of a key with several spellings."""
    for pair in combinations(names, 2):
        yield {"not": {"required": list(pair)}}
    if is_needed:
        yield {"anyOf": [{"required": [name]} for name in names]}


def _or_null(value: JsonSchemaValue) -> JsonSchemaValue:
    about = {key: value[key] for key in _ABOUT if key in value}
    bare = {key: part for key, part in value.items() if key not in _ABOUT}
    branches = bare["anyOf"] if set(bare) == {"anyOf"} else [bare]
    return {"anyOf": [*branches, *([] if _NULL in branches else [_NULL])], **about}


def _with_bounds(value: Any) -> Any:
    """Return the schema with the bounds under the names that JSON Schema gives them."""
    if isinstance(value, list):
        return [_with_bounds(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        _BOUNDS.get(key, key): {name: _with_bounds(part) for name, part in item.items()}
        if key in ("properties", "$defs")
        else _with_bounds(item)
        for key, item in value.items()
    }


def _schema(model: type[BaseModel], name: str, generator: type[GenerateJsonSchema]) -> dict[str, Any]:
    tree = _with_bounds(model.model_json_schema(schema_generator=generator))
    return {"$schema": DIALECT, "title": name, **{key: tree[key] for key in tree if key != "title"}}


def document_schema() -> dict[str, Any]:
    """Return the schema of a document as a person may write it, or a part of one."""
    from evaldock_entrypoints.contract.document import Document

    return _schema(Document, "evaldock/v1 document", _BeforeMerging)


def _framework() -> dict[str, Any]:
    from evaldock_entrypoints.contract.framework import Framework

    schema = _schema(Framework, "framework.yml of a harness folder", _Untitled)
    task = schema["$defs"]["Task"]
    # What a folder that names a vendor's wheel leaves out, the wheel's own definition says.
    tasks = {"tasks": {"items": {"required": task["required"]}}}
    whole = {"required": schema["required"], "properties": tasks}
    schema |= {"required": ["framework"], "if": {"not": {"required": ["vendor"]}}, "then": whole}
    task["required"] = ["name"]
    return schema


def _backend() -> dict[str, Any]:
    from evaldock.supply.catalogue import Backend

    return _schema(Backend, "backend.yml of a backend's image folder", _Untitled)


def _registry() -> dict[str, Any]:
    from evaldock.registry import Registry

    return _schema(Registry, "registry.yaml, the catalogue of images", _Untitled)


def _site() -> dict[str, Any]:
    from evaldock.registry import Site

    return _schema(Site, "registry.yaml of a user or site, laid over the catalogue", _Untitled)


def _images_lock() -> dict[str, Any]:
    from evaldock.supply.lock import ImagesLock

    return _schema(ImagesLock, "images.lock, the images built on one machine", _Untitled)


def _run_lock() -> dict[str, Any]:
    from evaldock.run_lock import RunLock

    return _schema(RunLock, "run.lock.yaml, every pin of a run", _Untitled)


# A model is imported when its schema is asked for.
_SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = {
    "document": document_schema,
    "framework": _framework,
    "backend": _backend,
    "registry": _registry,
    "site": _site,
    "images-lock": _images_lock,
    "run-lock": _run_lock,
    "results": results_schema,
}
SCHEMA_NAMES = tuple(_SCHEMAS)


def json_schema(name: str) -> dict[str, Any]:
    """Return the schema of this name; raises UsageError."""
    if name not in _SCHEMAS:
        raise UsageError(f'no schema is called "{name}"', next_step=nearest(name, _SCHEMAS))
    return _SCHEMAS[name]()


def schema_file(name: str) -> SchemaFile:
    """Return the file that stands beside the files that this schema describes."""
    return SchemaFile(name=f"{name}.v1", tree=json_schema(name))
