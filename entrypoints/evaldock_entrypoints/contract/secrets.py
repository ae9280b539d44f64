"""Literal secrets: refused in documents, moved to the environment when given on a command line."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import KeyPath, Layer, Merged, dotted

_SECRET_KEY = re.compile(
    r"(^|[_-])(api[_-]?key|access[_-]?key|token|password|passwd|secret|authorization|cookie)$", re.IGNORECASE
)
_INNOCENT = re.compile(r"^(start|end)_reasoning_token$")
_SECRET_FLAG = re.compile(r"^--?(hf[_-])?(api[_-]?key|token|password|secret)(=.+)?$", re.IGNORECASE)
_NAME_KEY = re.compile(r"(^|_)(api_key|token)_name$")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY_LIKE = re.compile(  # a well-known beginning, or letters of both cases mixed with digits
    r"(hf|gsk|ghp|pat|sk|xai|nvapi)[_-][A-Za-z0-9]{20,}|(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9]{20,}"
)
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")


def refuse_secrets(merged: Merged) -> None:
    """Raise UsageError where a literal secret stands in a document."""
    for path, value in _leaves(merged.tree, ()):
        key = str(next((part for part in reversed(path) if isinstance(part, str)), ""))
        if isinstance(value, str) and value and _SECRET_KEY.search(key) and not _INNOCENT.match(key):
            raise UsageError(
                f'a literal secret stands under "{dotted(path)}"',
                where=merged.origin(path),
                next_step="put it into an environment variable and name that: api_key_name: MY_VARIABLE",
            )
        if isinstance(value, str) and value and _NAME_KEY.search(key):
            refuse_key_as_name(value, merged.place(path))
        if key == "extra_args" and isinstance(value, str) and _SECRET_FLAG.match(value):
            raise UsageError(
                f'"{value.partition("=")[0]}" hands a secret over on a command line',
                where=merged.place(path),
                next_step="leave it out; a server's key belongs into its environment",
            )


def is_secret_name(name: str) -> bool:
    """Tell whether a value under this name is a secret."""
    return _SECRET_KEY.search(name) is not None


def refuse_key_as_name(name: str, where: str) -> None:
    """Raise UsageError, without showing it, where a key itself stands in the place of a variable's name."""
    if _NAME.fullmatch(name) and not _KEY_LIKE.fullmatch(name):
        return
    raise UsageError(
        "what stands there is not the name of a variable, and is not shown, for it may be the key itself",
        where=where,
        next_step="put the key into an environment variable (export MY_KEY=…) and give its name: MY_KEY",
    )


def key_value(name: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the value of the variable that api_key_name names.

    Raises UsageError if it is unset, or holds what no header can carry: the libraries below would show it.
    """
    if not name:
        return None
    refuse_key_as_name(name, "api_key_name")
    value = environ.get(name)
    if not value:
        raise UsageError(
            f"the variable {name} is not set, and api_key_name names it",
            where=f"api_key_name: {name}",
            next_step=f"export {name}=… (into a container of your own: docker run -e {name})",
        )
    if not (value.isascii() and value.isprintable() and value == value.strip()):
        raise UsageError(
            f"the variable {name} holds what no header can carry: a line end, or a space at its end",
            where=f"api_key_name: {name}",
            next_step=f"set it again without: export {name}=\"$(tr -d '[:space:]' < FILE)\"",
        )
    return value


@dataclass(frozen=True, kw_only=True)
class GivenKeys:
    """Overrides without their keys: `layer` names variables, `values` are what those are to hold."""

    layer: Layer
    values: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def take_keys(overrides: Layer, named: Mapping[KeyPath, str]) -> GivenKeys:
    """Take every `…api_key=VALUE` out of the overrides; `$NAME` and `${NAME}` name a variable instead.

    `named`: the api_key_name that documents give, by the endpoint's path. Raises UsageError for an empty key.
    """
    values: dict[str, str] = {}
    warnings: list[str] = []
    tree, origins = _copied(overrides.tree), dict(overrides.origins)
    for path, value in list(_leaves(overrides.tree, ())):
        if path[-1] != "api_key" or value is None:
            continue
        endpoint = _at(tree, path[:-1])
        text = str(endpoint.pop("api_key"))
        origin = origins.pop(path, overrides.name)
        if not text.strip():
            raise UsageError(
                "the key is empty", where=origin, next_step="is the variable set? echo ${NAME:+set}"
            )
        variable = _VARIABLE.fullmatch(text)
        name = (
            variable[1]
            if variable
            else str(endpoint.get("api_key_name") or named.get(path[:-1]) or _variable_of(path))
        )
        if not variable:
            values[name] = text
            warnings.append(
                f"{dotted(path)} was given on the command line, where others can read it; it goes on as the "
                f"variable {name}, and is not written anywhere. Better: export {name}=…, and "
                f"{overrides.name} {dotted((*path[:-1], 'api_key_name'))}={name}"
            )
        endpoint["api_key_name"] = name
        origins[(*path[:-1], "api_key_name")] = origin
    layer = Layer(tree=tree, origins=origins, name=overrides.name)
    return GivenKeys(layer=layer, values=values, warnings=tuple(warnings))


def _variable_of(path: KeyPath) -> str:
    """Return the name for the key of target.api_endpoint, or of target.auxiliary.ROLE."""
    role = re.sub(r"\W", "_", str(path[-2])).upper() if "auxiliary" in path else ""
    return f"EVALDOCK_{role}_API_KEY" if role else "EVALDOCK_API_KEY"


def named_keys(layers: Iterable[Layer]) -> dict[KeyPath, str]:
    """Return the api_key_name of every endpoint that the layers name one for; later layers win."""
    return {
        path[:-1]: value
        for layer in layers
        for path, value in _leaves(layer.tree, ())
        if path[-1:] == ("api_key_name",) and isinstance(value, str)
    }


def _at(tree: dict[Any, Any], path: KeyPath) -> dict[Any, Any]:
    for part in path:
        tree = tree[part]
    return tree


def _copied(value: Any) -> Any:
    return {key: _copied(item) for key, item in value.items()} if isinstance(value, dict) else value


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    elif path:
        yield path, value
