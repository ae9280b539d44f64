"""Environment variables of a launcher document.

evaldock sets the environment of its containers itself. What known variables stand for has keys of its own;
one without such a key is refused, for nobody can tell whether it would have changed a score.
"""

import re
from typing import Any, Literal

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import KeyPath, dotted
from evaldock_entrypoints.contract.nemo.draft import MISSING, Branch, Draft, items_of

Kind = Literal["variable", "text"]

_PREFIXED = re.compile(r"\$?(host|lit|runtime):(.*)", re.DOTALL)
_NAMED = re.compile(
    r"\$\{oc\.env:([A-Za-z_]\w*)(?:,[^}]*)?\}|\$\{?([A-Za-z_]\w*)\}?|([A-Z_][A-Z0-9_]*)", re.ASCII
)
_SECRET = re.compile(r"(^|_)(KEY|TOKEN|PASSWORD|PASSWD|SECRET|CREDENTIALS?)$", re.IGNORECASE)
_HUB_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACEHUB_API_TOKEN")
_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_EVALUATE_OFFLINE")
_CACHES = re.compile(
    r"(HF|HUGGINGFACE|TRANSFORMERS|VLLM|TORCH|TRITON|XDG|NLTK)_\w*(HOME|CACHE|CACHE_DIR|CACHE_ROOT|DATA)"
)
_OURS = re.compile(r"NEMO_EVALUATOR_\w+|LOG_LEVEL|LOG_DISABLE_REDACTION|ADAPTER_\w+|NVIDIA_VISIBLE_DEVICES")
_ENDPOINT_KEY = ("target", "api_endpoint", "api_key_name")


def environment(draft: Draft) -> None:
    """Read every `env_vars` block."""
    for path in _blocks(draft):
        if not draft.mapping(*path):
            draft.take(*path)
            continue
        for name, part in draft.take(*path).parts():
            _entry(draft, (*path, name), part)


def _blocks(draft: Draft) -> list[KeyPath]:
    tasks = [("evaluation", "tasks", index) for index, _ in items_of(draft.at("evaluation", "tasks"))]
    owners: list[KeyPath] = [(), ("deployment",), ("execution",), ("evaluation",), *tasks]
    return [(*owner, "env_vars") for owner in owners if draft.has(*owner, "env_vars")]


def _entry(draft: Draft, path: KeyPath, given: Branch) -> None:
    if isinstance(given.value, dict):  # execution.env_vars.deployment and its like
        for name, part in given.parts():
            _entry(draft, (*path, name), part)
    elif given.value is not None:
        name = str(path[-1])
        where = f"{given.origin}  {dotted(path)}"
        if given.value == MISSING:
            raise UsageError(f"{dotted(path)} must be set", where=where, next_step=f"{name}: host:{name}")
        kind, text = _read(name, given.value, where)
        _place(draft, path, given.with_value(text), kind, where)


def _read(name: str, value: Any, where: str) -> tuple[Kind, str]:
    """Return whether the value names a variable of this host or is the text itself."""
    text = str(value)
    prefixed, named = _PREFIXED.fullmatch(text), _NAMED.fullmatch(text)
    if prefixed and prefixed[1] != "lit":
        return "variable", prefixed[2].strip()
    if not prefixed and named:
        return "variable", named[1] or named[2] or named[3]
    if _SECRET.search(name):
        raise UsageError(
            f'a literal secret stands under "{name}"',
            where=where,
            next_step=f"put it into an environment variable and name that: {name}: host:{name}",
        )
    return "text", prefixed[2] if prefixed else text


def _place(draft: Draft, path: KeyPath, given: Branch, kind: Kind, where: str) -> None:
    name = str(path[-1])
    if name in _HUB_TOKENS and kind == "variable":
        _hub_token(draft, path, given)
    elif name in _OFFLINE and kind == "text":
        if given.value.lower() not in ("0", "false", "no", "off", ""):
            draft.put(("data", "offline"), given.with_value(True), clash="replace")
    elif name == "HF_ENDPOINT" and kind == "text":
        draft.put(("data", "hf_endpoint"), given)
    elif _SECRET.search(name):
        _endpoint_key(draft, path, given)
    elif _CACHES.fullmatch(name):
        draft.note(
            path, "data and tokenizers come from the image or data.path, not from a cache", where=given.origin
        )
    elif _OURS.fullmatch(name):
        draft.note(path, "it sets up NeMo's own programs", where=given.origin)
    else:
        raise UsageError(
            f'the variable "{name}" is not handed to a container, and it may change what is measured',
            where=where,
            next_step="remove it if the run does not need it; docs/nemo.md names those that are understood",
        )


def _hub_token(draft: Draft, path: KeyPath, given: Branch) -> None:
    draft.put(("data", "hf_token_name"), given, clash="keep")
    used = draft.at("data", "hf_token_name")
    if used != given.value:
        draft.note(path, f"a run has one token of the hub: data.hf_token_name: {used}", where=given.origin)


def _endpoint_key(draft: Draft, path: KeyPath, given: Branch) -> None:
    if draft.at(*_ENDPOINT_KEY) == path[-1]:
        draft.put(_ENDPOINT_KEY, given, clash="replace")
    else:
        draft.note(
            path, "a key goes only to the endpoint that names its variable: api_key_name", where=given.origin
        )
