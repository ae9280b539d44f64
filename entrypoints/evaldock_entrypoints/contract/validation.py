"""From merged layers to a validated model, or to an error that a person can act on."""

import difflib
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import KeyPath, Layer, Merged, dotted
from evaldock_entrypoints.contract.secrets import refuse_secrets

Model = TypeVar("Model", bound=BaseModel)

_SHOWN_ERRORS = 5


def validate(model: type[Model], merged: Merged) -> Model:
    """Validate the merged tree; raises UsageError with file:line, key and the nearest known key."""
    refuse_secrets(merged)
    for path in merged.unset:
        _refuse_unknown(model, merged, path)
    try:
        return model.model_validate(merged.tree)
    except ValidationError as error:
        raise as_usage_error(model, merged, error) from error


def _refuse_unknown(model: type[BaseModel], merged: Merged, path: KeyPath) -> None:
    """Raise UsageError for a null under a key that the model does not have."""
    annotation: Any = model
    for index, part in enumerate(path):
        if isinstance(part, int) or typing.get_origin(annotation) is dict:
            annotation = typing.get_args(annotation)[-1] if typing.get_args(annotation) else Any
            continue
        found = models_in(annotation)
        if not found:
            return  # a free mapping such as extra
        if part not in found[0].model_fields:
            here = path[: index + 1]
            raise UsageError(
                f'unknown key "{part}"', where=merged.place(here), next_step=_known_elsewhere(model, here)
            )
        annotation = found[0].model_fields[part].annotation


def canonical(layer: Layer, model: type[BaseModel]) -> Layer:
    """Return the layer with aliases replaced by our names, origins kept.

    Raises UsageError where a key and its alias stand together.
    """
    origins = dict(layer.origins)
    tree = _renamed(layer, layer.tree, model, (), (), origins)
    return Layer(tree=tree, origins=origins, name=layer.name)


def _renamed(
    layer: Layer,
    tree: Mapping[Any, Any],
    model: type[BaseModel],
    old: KeyPath,
    new: KeyPath,
    origins: dict[KeyPath, str],
) -> dict[Any, Any]:
    names = {alias: name for name, info in model.model_fields.items() for alias in aliases(name, info)}
    result: dict[Any, Any] = {}
    for key, value in tree.items():
        name = names.get(key, key)
        if name in result:
            raise UsageError(
                f'"{key}" and its other spelling both stand there',
                where=f"{layer.origin((*old, key))}  {dotted((*old, key))}",
                next_step=f'keep "{name}"',
            )
        if name != key:
            _move_origins(origins, (*new, key), (*new, name))
        inner = models_in(model.model_fields[name].annotation) if name in model.model_fields else []
        result[name] = _renamed_value(layer, value, inner, (*old, key), (*new, name), origins)
    return result


def _renamed_value(
    layer: Layer,
    value: Any,
    inner: list[type[BaseModel]],
    old: KeyPath,
    new: KeyPath,
    origins: dict[KeyPath, str],
) -> Any:
    if not inner or isinstance(value, str):
        return value
    if isinstance(value, list):
        return [
            _renamed_value(layer, item, inner, (*old, index), (*new, index), origins)
            for index, item in enumerate(value)
        ]
    if isinstance(value, dict) and any(isinstance(key, int) for key in value):  # items of a list, overridden
        return {
            key: _renamed_value(layer, item, inner, (*old, key), (*new, key), origins)
            for key, item in value.items()
        }
    return _renamed(layer, value, inner[0], old, new, origins) if isinstance(value, dict) else value


def _move_origins(origins: dict[KeyPath, str], old: KeyPath, new: KeyPath) -> None:
    for path in [path for path in origins if path[: len(old)] == old]:
        origins[(*new, *path[len(old) :])] = origins.pop(path)


def aliases(name: str, info: FieldInfo) -> list[str]:
    """Return the other spellings of a field."""
    choices = info.validation_alias
    return [str(one) for one in choices.choices if one != name] if isinstance(choices, AliasChoices) else []


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that values of this annotation are, or hold."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for inner in typing.get_args(annotation) for model in models_in(inner)]


def as_usage_error(model: type[BaseModel], merged: Merged, error: ValidationError) -> UsageError:
    """Return what pydantic found as what / where / next, the places from the merged tree's origins."""
    findings = [_finding(model, merged, detail) for detail in _causes_first(error, merged)]
    first, *others = findings
    also = [f"also {one.where}: {_without_key(one)}" for one in others[:_SHOWN_ERRORS]]
    where = "\n  ".join(part for part in (first.where, *also) if part)
    return UsageError(first.message, where=where, next_step=first.next_step)


def _without_key(finding: UsageError) -> str:
    """Return the message without the key, which stands beside it."""
    key, colon, message = finding.message.partition(": ")
    return message if colon and (finding.where or "").endswith(key) else finding.message


def _causes_first(error: ValidationError, merged: Merged) -> list[ErrorDetails]:
    """Return the errors, a key that is missing last, and first the unknown one that may be meant for it."""
    details = list(_one_per_place(error, merged))
    missing = [_path(detail, merged.tree) for detail in details if detail["type"] == "missing"]

    def rank(detail: ErrorDetails) -> int:
        *parents, word = _path(detail, merged.tree) or ("",)
        if detail["type"] != "extra_forbidden":
            return 2 if detail["type"] == "missing" else 1
        beside = [str(path[-1]) for path in missing if path[:-1] == tuple(parents)]
        return 0 if difflib.get_close_matches(str(word), beside) else 1

    return sorted(details, key=rank)


def _one_per_place(error: ValidationError, merged: Merged) -> Iterator[ErrorDetails]:
    """Yield one error for each value: a union reports each of its branches, a flag goes to every task."""
    seen: set[tuple[Any, ...]] = set()
    for detail in error.errors(include_url=False):
        path = _path(detail, merged.tree)
        origin = merged.origin(path) or ""
        place = (origin, path[-1:]) if origin.startswith("-") else path
        if place not in seen:
            seen.add(place)
            yield detail


def _path(detail: ErrorDetails, tree: Any) -> KeyPath:
    """Return where in the tree the error is; a part that pydantic put in for a union is no key there."""
    path: list[str | int] = []
    for part in detail["loc"]:
        is_key = isinstance(tree, dict) and part in tree
        if is_key or not _is_union_tag(part):
            path.append(part)
            is_item = isinstance(tree, list) and isinstance(part, int) and part < len(tree)
            tree = tree[part] if is_key or is_item else None
    return tuple(path)


def _is_union_tag(part: str | int) -> bool:
    """Tell whether pydantic put this part in for a branch of a union (`constrained-int`, `list[int]`)."""
    return isinstance(part, str) and re.search(r"[\[\]\-'(]|^int$|^float$|^str$", part) is not None


def _finding(model: type[BaseModel], merged: Merged, detail: ErrorDetails) -> UsageError:
    path, given = _path(detail, merged.tree), detail["input"]
    key, where = dotted(path), merged.place(path)
    match detail["type"]:
        case "extra_forbidden":
            return UsageError(
                f'unknown key "{path[-1]}"', where=where, next_step=_known_elsewhere(model, path)
            )
        case "missing":
            return UsageError(f'the key "{key}" is missing', where=where, next_step="add it")
        case "string_type" if isinstance(given, int | float):
            return UsageError(f"{key}: {given!r} is no text", where=where, next_step=f'quote it: "{given}"')
        case "model_type" | "dict_type":
            return UsageError(
                f"{key}: {given!r} is no mapping of keys", where=where, next_step="write key: value below it"
            )
        case "list_type":
            return UsageError(f"{key}: {given!r} is no list", where=where, next_step="write [item, item]")
        case "value_error":
            message, _, step = detail["msg"].removeprefix("Value error, ").partition("; ")
            said = f"{key}: {message}" if key else message
            return UsageError(said, where=where, next_step=step or _REMOVE)
        case "literal_error":
            choices = str(detail.get("ctx", {}).get("expected", "")).replace("'", "")
            known = choices.replace(" or ", ", ").split(", ")
            return UsageError(
                f"{key}: {given!r} is none of its values", where=where, next_step=nearest(str(given), known)
            )
        case kind:
            message = detail["msg"][0].lower() + detail["msg"][1:]
            form = str(detail.get("ctx", {}).get("pattern", ""))
            step = next((text for start, text in _STEPS.items() if kind.startswith(start)), _REMOVE)
            return UsageError(f"{key}: {message}, not {given!r}"[:500], where=where, next_step=step + form)


_REMOVE = "change it, or remove the key for its default"
_STEPS = {
    "int_": "give a whole number",
    "float_": "give a number",
    "bool_": "give true or false",
    "string_pattern": "its form is ",
}


def _known_elsewhere(model: type[BaseModel], path: KeyPath) -> str:
    """Return where the unknown key belongs, or what it may have meant."""
    word = str(path[-1])
    here = list(_known_keys(model, path[:-1]))
    homes = [place for place in _places(model, ()) if place[-1] == word]
    if homes and not difflib.get_close_matches(word, here):
        return "it belongs under " + " or ".join(_shown(place[:-1]) for place in homes[:3])
    return nearest(word, here)


def _shown(path: KeyPath) -> str:
    return ".".join("[]" if part == 0 else str(part) for part in path).replace(".[]", "[]")


def _places(model: type[BaseModel], path: KeyPath) -> Iterator[KeyPath]:
    """Yield the path of every key of the model; 0 stands for an item of a list."""
    for name, info in model.model_fields.items():
        yield (*path, name)
        for inner in models_in(info.annotation)[:1]:
            is_list = "list[" in str(info.annotation)
            yield from _places(inner, (*path, name, 0) if is_list else (*path, name))


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a did-you-mean sentence, or the list of what is known."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=3)
    if close:
        return "did you mean " + " or ".join(f'"{name}"' for name in close) + "?"
    return "known: " + ", ".join(names) if names else "remove it"


def _known_keys(model: type[BaseModel], path: KeyPath) -> Iterator[str]:
    found = [model]
    for part in path:
        if isinstance(part, int) or not found:
            continue
        info = found[0].model_fields.get(part)
        if info is not None:  # else: the key of a free mapping such as auxiliary
            found = models_in(info.annotation)
    for inner in found[:1]:
        for name, info in inner.model_fields.items():
            yield from (info.alias or name, *aliases(name, info))
