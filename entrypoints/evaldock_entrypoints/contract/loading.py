"""From YAML texts and overrides to one validated document, every value with its origin."""

import difflib
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from evaldock_entrypoints.contract.errors import UsageError

KeyPath = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

_MAX_BYTES = 4 * 1024 * 1024
_MAX_NODES = 100_000
_SECRET_KEY = re.compile(r"(^|_)(api_?key|token|password|secret)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One source of values: a tree and where each path of it was written."""

    tree: dict[str, Any]
    origins: Mapping[KeyPath, str] = field(default_factory=dict)
    name: str = ""

    def origin(self, path: KeyPath) -> str:
        return self.origins.get(path, self.name)


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The layers laid over each other."""

    tree: dict[str, Any]
    origins: Mapping[KeyPath, str]

    def origin(self, path: KeyPath) -> str | None:
        """Return where the value at the path, or its nearest parent that has an origin, was written."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.origins:
                return self.origins[path[:end]]
        return None


def load_yaml(path: Path) -> Layer:
    """Read one YAML file with the line of every key; raises UsageError."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", next_step="check the path") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: bytes | str, name: str) -> Layer:
    """Parse one YAML document; raises UsageError on malformed, doubled, oversized or non-mapping input."""
    if len(text) > _MAX_BYTES:
        raise UsageError(f"{name} is larger than {_MAX_BYTES // 1024**2} MiB", where=name)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except RecursionError as error:
        raise UsageError(f"{name} is nested too deeply", where=name) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"{name}:{mark.line + 1}" if mark else name
        raise UsageError(f"malformed YAML: {getattr(error, 'problem', error)}", where=line) from error
    reader = _Reader(name)
    tree = reader.value(root, ()) if root is not None else {}
    if not isinstance(tree, dict):
        raise UsageError("the document is not a mapping", where=f"{name}:1")
    return Layer(tree=tree, origins=reader.origins, name=name)


class _Reader:
    """Turns YAML nodes into values and remembers the line of each."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.origins: dict[KeyPath, str] = {}
        self._constructor = yaml.SafeLoader("")
        self._nodes = 0

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self._nodes += 1  # aliases are walked again each time they are used, so a bomb ends here
        if self._nodes > _MAX_NODES:
            raise UsageError(f"{self.name} holds more than {_MAX_NODES} values", where=self.name)
        self.origins[path] = f"{self.name}:{node.start_mark.line + 1}"
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            case _:
                return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            line = f"{self.name}:{key_node.start_mark.line + 1}"
            if key in result:
                raise UsageError(f'the key "{key}" stands twice', where=f"{line}  {dotted((*path, key))}")
            result[key] = self.value(value_node, (*path, key))
            self.origins[(*path, key)] = line
        return result

    def _scalar(self, node: yaml.Node) -> Any:
        if node.tag == "tag:yaml.org,2002:str" and re.fullmatch(r"[-+]?\d+(\.\d+)?[eE][-+]?\d+", node.value):
            return float(node.value)  # YAML 1.1 reads 1e3 as text
        try:
            return self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            line = f"{self.name}:{node.start_mark.line + 1}"
            raise UsageError(f"cannot read the value {node.value!r}", where=line) from error


def override_layer(assignments: Iterable[str], name: str = "-o") -> Layer:
    """Return the layer of `a.b.c=value` assignments, values read as YAML; raises UsageError."""
    tree: dict[str, Any] = {}
    origins: dict[KeyPath, str] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not key.strip():
            raise UsageError(f'the override "{assignment}" is not key=value', where=name)
        path = tuple(key.strip().lstrip("+").split("."))
        _put(tree, path, _override_value(text), name)
        origins[path] = f"{name} {key.strip()}"
    return Layer(tree=tree, origins=origins, name=name)


def _override_value(text: str) -> Any:
    if text.strip() == "":
        return ""
    return parse_yaml(f"value: {text}" if "\n" not in text else f"value:\n{text}", "-o").tree["value"]


def _put(tree: dict[str, Any], path: Sequence[str], value: Any, name: str) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise UsageError(f"two overrides disagree about {'.'.join(path)}", where=name)
    tree[path[-1]] = value


def merge(layers: Iterable[Layer]) -> Merged:
    """Lay later layers over earlier ones: mappings merge, lists are replaced, null unsets."""
    tree: dict[str, Any] = {}
    origins: dict[KeyPath, str] = {}
    for layer in layers:
        _merge_into(tree, layer.tree, (), layer, origins)
    return Merged(tree=tree, origins=origins)


def _merge_into(
    base: dict[str, Any], over: dict[str, Any], path: KeyPath, layer: Layer, origins: dict[KeyPath, str]
) -> None:
    for key, value in over.items():
        here = (*path, key)
        if value is None:
            base.pop(key, None)
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge_into(base[key], value, here, layer, origins)
            continue
        else:
            base[key] = _without_nulls(value)
        _replace_origins(origins, here, layer)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _replace_origins(origins: dict[KeyPath, str], path: KeyPath, layer: Layer) -> None:
    depth = len(path)
    for stale in [known for known in origins if known[:depth] == path]:
        del origins[stale]
    origins[path] = layer.origin(path)
    origins.update({key: where for key, where in layer.origins.items() if key[:depth] == path})


def validate(model: type[Model], merged: Merged) -> Model:
    """Validate the merged tree; raises UsageError with file:line, key and the nearest known key."""
    refuse_secrets(merged)
    try:
        return model.model_validate(merged.tree)
    except ValidationError as error:
        raise _as_usage_error(model, merged, error) from error


def refuse_secrets(merged: Merged) -> None:
    """Raise UsageError where a literal secret stands in a document."""
    for path, value in _leaves(merged.tree, ()):
        key = str(path[-1]) if path else ""
        if isinstance(value, str) and value and _SECRET_KEY.search(key):
            raise UsageError(
                f'a literal secret stands under "{dotted(path)}"',
                where=merged.origin(path),
                next_step=f"put it into an environment variable and name that: {key}_name: MY_VARIABLE",
            )


def _leaves(value: Any, path: KeyPath) -> Iterable[tuple[KeyPath, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    else:
        yield path, value


def dotted(path: KeyPath) -> str:
    """Return a.b[0].c."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _as_usage_error(model: type[BaseModel], merged: Merged, error: ValidationError) -> UsageError:
    first = error.errors(include_url=False)[0]
    path = tuple(part for part in first["loc"] if not _is_union_tag(part))
    where = "  ".join(part for part in (merged.origin(path), dotted(path)) if part)
    if first["type"] == "extra_forbidden":
        known = _known_keys(model, path[:-1])
        return UsageError(f'unknown key "{path[-1]}"', where=where, next_step=nearest(str(path[-1]), known))
    if first["type"] == "missing":
        return UsageError(f'the key "{dotted(path)}" is missing', where=where, next_step="add it")
    return UsageError(f"{dotted(path)}: {first['msg'][0].lower()}{first['msg'][1:]}", where=where)


def _is_union_tag(part: str | int) -> bool:
    """Tell whether pydantic put this part in for a branch of a union (`constrained-int`, `list[int]`)."""
    return isinstance(part, str) and re.search(r"[\[\]\-'(]|^int$|^float$|^str$", part) is not None


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a did-you-mean sentence, or the list of what is known."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=3)
    if close:
        return "did you mean " + " or ".join(f'"{name}"' for name in close) + "?"
    return "known: " + ", ".join(names) if names else "remove it"


def _known_keys(model: type[BaseModel], path: KeyPath) -> list[str]:
    current: Any = model
    for part in path:
        field_info = _models_in(current)[0].model_fields.get(str(part)) if _models_in(current) else None
        if isinstance(part, int):
            continue
        if field_info is None:
            return []
        current = field_info.annotation
    return [name for found in _models_in(current) for name in found.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for inner in typing.get_args(annotation) for model in _models_in(inner)]
