"""From the vendor's definition to the keys of our framework.yml; what cannot be had is refused by name."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from evaldock_entrypoints.contract.errors import EvaldockError
from evaldock_entrypoints.contract.params import NEEDED_PARAMS
from evaldock_entrypoints.contract.vendor.command import NotSetError, extra_keys, render_command
from evaldock_entrypoints.contract.vendor.context import (
    EXTRA,
    MODEL_OWN_KEYS,
    command_context,
    roles_of,
    vendor_texts,
)
from evaldock_entrypoints.contract.vendor.definition import Definition, Entry, Tree
from evaldock_entrypoints.contract.vendor.safe import leaves

REPEATS = "n_samples"  # the extra in which the vendor counts repeats
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*", re.ASCII)
_ENDPOINT_TYPES = ("chat", "completions", "completions_logprob", "embedding")
_CAPABILITIES = ("logprobs", "tools")
_SAMPLE = {
    "config.output_dir": "/out",
    "target.api_endpoint.url": "http://127.0.0.1:1/v1/chat/completions",
    "target.api_endpoint.model_id": "m",
    "target.api_endpoint.api_key_name": "KEY",
    "target.api_endpoint.api_key": "KEY",  # the same in wheels of 2025
}


@dataclass(frozen=True, kw_only=True)
class Translation:
    """Keys of framework.yml: tasks, extras, params, repeats. refused: task → why it is none of ours."""

    tasks: list[Tree]
    extras: Tree
    params: Tree
    repeats: str
    refused: dict[str, str]


def translate(
    definition: Definition, given: Collection[str] = (), without: Collection[str] = ()
) -> Translation:
    """Return what the definition is to us.

    given: dotted keys whose values the folder sets by itself. without: extras that users cannot set, either.
    """
    refused: dict[str, str] = {}
    kept: dict[str, Entry] = {}
    for entry in definition.entries:
        why = "another task has the same name" if entry.name in kept else _refusal(entry, given)
        if why is None:
            kept[entry.name] = entry
        else:
            refused[entry.name] = why
    entries = list(kept.values())
    own = {*without, *(key.removeprefix(EXTRA) for key in given)}
    extras = {entry.name: _extras(entry, own) for entry in entries}
    params = {entry.name: _params(entry) for entry in entries}
    everyones_extras, everyones_params = _common(extras.values()), _common(params.values())
    return Translation(
        tasks=[
            {
                **_task(entry),
                "params": _other_than(everyones_params, params[entry.name]),
                "extras": _other_than(everyones_extras, extras[entry.name]),
            }
            for entry in entries
        ],
        extras=_declared(extras.values(), everyones_extras),
        params=everyones_params,
        repeats="native" if any(REPEATS in entry.extra for entry in entries) else "runs",
        refused=refused,
    )


def _refusal(entry: Entry, given: Collection[str]) -> str | None:
    """Return why the task cannot be one of ours."""
    if not _NAME.fullmatch(entry.name):
        return f"its name {entry.name!r} is none of ours"
    if not entry.endpoint_types:
        return "it names no endpoint type"
    for kind, wanted, known in (
        ("endpoint type", entry.endpoint_types, _ENDPOINT_TYPES),
        ("capability", entry.capabilities, _CAPABILITIES),
    ):
        if unknown := sorted(set(wanted) - set(known)):
            return f"it needs the {kind} {', '.join(unknown)}"
    return _unrenderable(entry, given)


def _unrenderable(entry: Entry, given: Collection[str]) -> str | None:
    """Return why the command cannot be made, whatever the user sets."""
    roles = {f"{EXTRA}{role}.{key}": "x" for role in roles_of(entry) for key in MODEL_OWN_KEYS}
    values = {**_SAMPLE, **roles, **dict.fromkeys(given, "x")}
    try:
        absent = {f"{EXTRA}{key}": "x" for key in extra_keys(entry.command) if _is_absent(entry, key)}
        for endpoint_type in entry.endpoint_types:
            _try(entry, {**values, "target.api_endpoint.type": endpoint_type}, absent)
    except (EvaldockError, TemplateError) as error:
        return str(error)
    return None


def _try(entry: Entry, values: Tree, absent: Tree) -> None:
    """Render the command, with what only the user can set where it cannot do without."""
    try:
        render_command(entry.command, command_context(entry, values), vendor_texts(entry))
    except NotSetError as error:
        if error.key_is_known:
            return
        render_command(entry.command, command_context(entry, {**absent, **values}), vendor_texts(entry))


def _is_absent(entry: Entry, key: str) -> bool:
    tree: Any = entry.extra
    for part in key.split("."):
        if not isinstance(tree, dict) or part not in tree:
            return True
        tree = tree[part]
    return False


def _task(entry: Entry) -> Tree:
    types = ["completions_logprob" if _reads_logprobs(entry, one) else one for one in entry.endpoint_types]
    return {
        "name": entry.name,
        "description": entry.description,
        "endpoint_types": types,
        "capabilities": list(entry.capabilities),
        "auxiliary": roles_of(entry),
    }


def _reads_logprobs(entry: Entry, endpoint_type: str) -> bool:
    return endpoint_type == "completions" and "logprobs" in entry.capabilities


def _params(entry: Entry) -> Tree:
    """Return the entry's parameters; null where the vendor leaves one to the harness."""
    params = {
        name: value for name, value in entry.params.items() if value is not None or name not in NEEDED_PARAMS
    }
    repeats = entry.extra.get(REPEATS)
    return {**params, **({"repeats": repeats} if isinstance(repeats, int) else {})}


def _extras(entry: Entry, own: Collection[str]) -> Tree:
    """Return the extras that a user may set, dotted where they are nested, with the entry's values."""
    read = extra_keys(entry.command)
    single = {
        key: value for key, value in entry.extra.items() if not isinstance(value, dict) or key not in read
    }
    values = dict.fromkeys(read - (entry.extra.keys() - single.keys())) | dict(leaves(single))
    ours = {REPEATS, *own} | {f"{role}.{key}" for role in roles_of(entry) for key in MODEL_OWN_KEYS}
    groups = {key for key in values if any(other.startswith(f"{key}.") for other in values)}
    return {
        key: value
        for key, value in sorted(values.items())
        if key not in ours | groups and not isinstance(value, list)
    }


def _common(trees: Iterable[Tree]) -> Tree:
    """Return what all trees hold alike."""
    first, *others = list(trees) or [{}]
    missing = object()
    return {
        key: value
        for key, value in first.items()
        if all(other.get(key, missing) == value for other in others)
    }


def _other_than(common: Tree, own: Tree) -> Tree:
    missing = object()
    return {key: value for key, value in own.items() if common.get(key, missing) != value}


def _declared(trees: Iterable[Tree], common: Mapping[str, Any]) -> Tree:
    """Return the declaration of every extra that some task has, its type told from the values it has."""
    values: dict[str, list[Any]] = {}
    for tree in trees:
        for key, value in tree.items():
            values.setdefault(key, []).append(value)
    return {
        key: {
            "type": _type_of(found),
            "description": "as the vendor's command reads it",
            "default": common.get(key),
        }
        for key, found in sorted(values.items())
    }


def _type_of(values: list[Any]) -> str:
    types = {type(value).__name__ for value in values if value is not None}
    if types == {"int", "float"}:
        return "float"
    return types.pop() if len(types) == 1 and types <= {"bool", "int", "float", "str"} else "any"
