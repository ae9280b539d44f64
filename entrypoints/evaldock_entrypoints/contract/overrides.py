"""`-o a.b=c` and `--overrides "a.b=c,d=e"`: assignments as a layer."""

import re
from collections.abc import Iterable
from typing import Any

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import KeyPath, Layer, dotted
from evaldock_entrypoints.contract.reader import parse_yaml

_PART = re.compile(r"([^.\[\]]+)((?:\[\d+\])*)")
_EXAMPLE = "join keys with dots, and count items of a list from 0: evaluation.tasks[0].name"


def override_layer(assignments: Iterable[str], name: str = "-o") -> Layer:
    """Return the layer of `a.b[0].c=value` assignments, values read as YAML; raises UsageError."""
    tree: dict[Any, Any] = {}
    origins: dict[KeyPath, str] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not key.strip():
            raise UsageError(
                f'the override "{key}" is not key=value',
                where=name,
                next_step=f"write {name} {key.strip() or 'KEY'}=VALUE",
            )
        path = _path(key.strip().lstrip("+"), name)
        _put(tree, path, _value(text, f"{name} {key.strip()}"), name)
        origins[path] = f"{name} {key.strip()}"
    return Layer(tree=tree, origins=origins, name=name)


def split_overrides(text: str) -> list[str]:
    """Split `a.b=1,c='x,y',d=[1,2]` at its outer commas."""
    parts, depth, quote, current = [], 0, "", ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(current)
            current = ""
            continue
        current += character
    return [part for part in (*parts, current) if part.strip()]


def _path(key: str, name: str) -> KeyPath:
    path: list[str | int] = []
    for part in key.split("."):
        match = _PART.fullmatch(part)
        if match is None:
            raise UsageError(
                f'the override\'s key "{key}" cannot be read', where=f"{name} {key}", next_step=_EXAMPLE
            )
        path += [match[1], *(int(index) for index in re.findall(r"\d+", match[2]))]
    return tuple(path)


def _value(text: str, name: str) -> Any:
    if text.strip() == "":
        return ""
    try:
        return parse_yaml(f"value: {text}" if "\n" not in text else f"value:\n{text}", name).tree["value"]
    except UsageError as error:
        error.where = name  # its lines are not those of a file
        raise


def _put(tree: Any, path: KeyPath, value: Any, name: str) -> None:
    for part in path[:-1]:
        tree = _inside(tree, part)
    if isinstance(tree, dict) or _is_item(tree, path[-1]):
        tree[path[-1]] = value
        return
    raise UsageError(
        f"two overrides disagree about {dotted(path)}",
        where=f"{name} {dotted(path)}",
        next_step="keep one of them",
    )


def _inside(tree: Any, part: str | int) -> Any:
    """Return what lies under the key, or in the item of a list that another override gave whole."""
    if isinstance(tree, dict):
        return tree.setdefault(part, {})
    if not _is_item(tree, part):
        return None
    if isinstance(tree[part], str):
        tree[part] = {"name": tree[part]}  # a task by its name alone
    return tree[part]


def _is_item(tree: Any, part: str | int) -> bool:
    return isinstance(tree, list) and isinstance(part, int) and part < len(tree)
