"""The `target` section: the endpoint, its key and its adapter."""

import re
from typing import Any

from evaldock_entrypoints.contract.nemo.draft import Branch, Draft, Marks

_ENDPOINT = ("target", "api_endpoint")
_ADAPTER = (*_ENDPOINT, "adapter_config")
_NAMED = re.compile(r"\$(?:\{(?:oc\.env:)?)?([A-Za-z_][A-Za-z0-9_]*)\}?")


def endpoint(draft: Draft) -> None:
    """Older spellings of endpoint types and keys; interceptors given by name alone."""
    if draft.has("global_adapter_config"):
        draft.put(_ADAPTER, draft.take("global_adapter_config"), clash="keep")
    if not isinstance(draft.at(*_ENDPOINT), dict):
        return
    _type(draft)
    _key(draft)
    for chain in ("interceptors", "post_eval_hooks"):
        _by_name(draft, chain)


def _type(draft: Draft) -> None:
    path = (*_ENDPOINT, "type")
    match draft.at(*path):
        case "vlm":
            draft.put(path, draft.take(*path).with_value("chat"))
        case "undefined":
            draft.take(*path)


def _key(draft: Draft) -> None:
    """`api_key: $NAME` names a variable; anything else stays and is refused as a literal secret."""
    given: Any = draft.at(*_ENDPOINT, "api_key")
    named = _NAMED.fullmatch(given) if isinstance(given, str) else None
    if named:
        key = draft.take(*_ENDPOINT, "api_key")
        draft.put((*_ENDPOINT, "api_key_name"), key.with_value(named[1]), clash="keep")


def _by_name(draft: Draft, chain: str) -> None:
    path = (*_ADAPTER, chain)
    steps = draft.at(*path)
    for index, step in enumerate(steps if isinstance(steps, list) else []):
        if isinstance(step, str):
            origin = draft.origin((*path, index))
            steps[index] = {}
            draft.put((*path, index, "name"), Branch(value=step, marks=Marks(origin=origin)))
