"""Layers of values laid over each other, every value with its origin."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evaldock_entrypoints.contract.errors import UsageError

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One source of values: a tree and where each path of it was written."""

    tree: dict[str, Any]
    origins: Mapping[KeyPath, str] = field(default_factory=dict)
    name: str = ""

    def origin(self, path: KeyPath) -> str:
        """Return where the value at the path, or its nearest parent with an origin, was written."""
        return _nearest_origin(self.origins, path) or self.name


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The layers laid over each other."""

    tree: dict[str, Any]
    origins: Mapping[KeyPath, str]
    unset: tuple[KeyPath, ...] = ()  # where null stands, which the tree no longer shows

    def origin(self, path: KeyPath) -> str | None:
        """Return where the value at the path, or its nearest parent with an origin, was written."""
        return _nearest_origin(self.origins, path)

    def place(self, path: KeyPath) -> str:
        """Return `file:line  dotted.key`, for the second line of an error."""
        origin, key = self.origin(path), dotted(path)
        return origin if origin and origin.endswith(f" {key}") else "  ".join(filter(None, (origin, key)))


NOWHERE = Merged(tree={}, origins={})


def _nearest_origin(origins: Mapping[KeyPath, str], path: KeyPath) -> str | None:
    ends = range(len(path), 0, -1)
    return next((origins[path[:end]] for end in ends if path[:end] in origins), None)


def dotted(path: KeyPath) -> str:
    """Return a.b[0].c."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def merge(layers: Iterable[Layer]) -> Merged:
    """Lay later layers over earlier ones: mappings merge, lists are replaced, null unsets.

    An override of one item, `tasks[0].name=x`, changes that item of the list. Null goes, but below `params`
    it stays: there it also unsets what harness and task set; and in what an interceptor is told, where it is
    a value. Raises UsageError for an item that is not there.
    """
    tree: dict[str, Any] = {}
    origins: dict[KeyPath, str] = {}
    for layer in layers:
        _merge_mapping(tree, layer.tree, (), layer, origins)
    unset = tuple(path for path in origins if _is_null(tree, path))
    return Merged(tree=_without_nulls(tree, ()), origins=origins, unset=unset)


def _merge_mapping(
    base: dict[str, Any],
    over: Mapping[Any, Any],
    path: KeyPath,
    layer: Layer,
    origins: dict[KeyPath, str],
) -> None:
    for key, value in over.items():
        here = (*path, key)
        current = base.get(key)
        if isinstance(value, dict) and isinstance(current, dict):
            _merge_mapping(current, value, here, layer, origins)
        elif _is_items(value) and isinstance(current, list):
            _merge_items(current, value, here, layer, origins)
        else:
            base[key] = _copied(value)
            _replace_origins(origins, here, layer, has_parts=_has_parts(current) or _has_parts(value))


def _is_items(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(key, int) for key in value)


def _merge_items(
    base: list[Any], over: Mapping[int, Any], path: KeyPath, layer: Layer, origins: dict[KeyPath, str]
) -> None:
    for index, value in over.items():
        here = (*path, index)
        if index >= len(base):
            raise UsageError(
                f"{dotted(path)} has {len(base)} item{'' if len(base) == 1 else 's'}, and no number {index}",
                where=next(
                    (layer.origins[one] for one in layer.origins if one[: len(here)] == here), layer.name
                ),
                next_step="items count from 0; write the whole list to add one",
            )
        if isinstance(base[index], str) and isinstance(value, dict) and path[-1] == "tasks":
            base[index] = {"name": base[index]}
        if isinstance(value, dict) and isinstance(base[index], dict):
            _merge_mapping(base[index], value, here, layer, origins)
        else:
            has_parts = _has_parts(base[index]) or _has_parts(value)
            base[index] = _copied(value)
            _replace_origins(origins, here, layer, has_parts=has_parts)


def _has_parts(value: Any) -> bool:
    return isinstance(value, dict | list)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _without_nulls(value: Any, path: KeyPath) -> Any:
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if item is not None or _keeps_null((*path, key))}
        return {key: _without_nulls(item, (*path, key)) for key, item in kept.items()}
    if isinstance(value, list):
        return [_without_nulls(item, (*path, index)) for index, item in enumerate(value)]
    return value


def _is_null(tree: Any, path: KeyPath) -> bool:
    """Tell whether null stands at the path."""
    for part in path[:-1]:
        if isinstance(part, int):
            inside = isinstance(tree, list) and part < len(tree)
        else:
            inside = isinstance(tree, dict) and part in tree
        if not inside:
            return False
        tree = tree[part]
    return bool(path) and isinstance(tree, dict) and path[-1] in tree and tree[path[-1]] is None


def _keeps_null(path: KeyPath) -> bool:
    parents = path[:-1]
    if "params" in parents:
        return path[-2:] != ("params", "extra")
    return "adapter_config" in parents and ("config" in parents or "params_to_add" in parents)


def _replace_origins(origins: dict[KeyPath, str], path: KeyPath, layer: Layer, *, has_parts: bool) -> None:
    if not has_parts:  # the usual case, and the one that must not look at every origin
        origins[path] = layer.origin(path)
        return
    depth = len(path)
    for stale in [known for known in origins if known[:depth] == path]:
        del origins[stale]
    origins[path] = layer.origin(path)
    origins.update({key: where for key, where in layer.origins.items() if key[:depth] == path})
