"""From a document's adapter_config to the adapter's chain: every interceptor, in order, checked."""

import importlib.metadata
import re
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from evaldock_entrypoints.contract.built_in_interceptors import (
    ABSENT,
    ALIASES,
    BUILT_IN,
    CACHING,
    ENDPOINT,
    ENTRY_POINTS,
    IDLE_ANYWHERE,
    IDLE_SETTINGS,
    STREAMING,
)
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.fields import Strict
from evaldock_entrypoints.contract.flat_adapter import IDLE_KEYS, flat_keys, flat_steps
from evaldock_entrypoints.contract.interceptors import Caching, EndpointPolicy, Streaming
from evaldock_entrypoints.contract.layers import KeyPath, Merged
from evaldock_entrypoints.contract.target import AdapterConfig, Interceptor
from evaldock_entrypoints.contract.validation import aliases, nearest, validate

_MODULE_AND_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_REPORT_HOOK = "post_eval_report"
Settings = TypeVar("Settings", bound=Strict)


def chain_of(config: AdapterConfig | None, merged: Merged, path: KeyPath) -> tuple[Interceptor, ...]:
    """Return the whole chain, in order; `path` is where adapter_config stands in `merged`.

    Settings of built-in interceptors are checked and come out in our spelling; those of a user's own are
    left to the adapter, which alone can load them. Raises UsageError with file, line and key.
    """
    config = config or AdapterConfig()
    _refuse_leftovers(config, merged, path)
    steps = list(_steps(config, merged, path))
    _refuse_repeats(steps, merged)
    _refuse_disorder(steps, merged)
    return tuple(step.interceptor for step in _with_terminals(steps))


def notes_of(config: AdapterConfig | None, merged: Merged, path: KeyPath) -> tuple[str, ...]:
    """Return what of adapter_config has no effect here, each with its place and the reason."""
    config = config or AdapterConfig()
    return tuple(f"{merged.place((*path, *place))}: has no effect: {why}" for place, why in _idle(config))


def module_folders(config: AdapterConfig | None) -> tuple[str, ...]:
    """Return the folders, as written, in which interceptors of the user's own are."""
    return tuple(config.discovery.get("dirs", ())) if config else ()


def policy_of(chain: Sequence[Interceptor]) -> EndpointPolicy:
    """Return how the endpoint is asked."""
    return _settings_of(chain, ENDPOINT, EndpointPolicy)


def caching_of(chain: Sequence[Interceptor]) -> Caching:
    """Return what the store of exchanges is used for."""
    return _settings_of(chain, CACHING, Caching)


def streaming_of(chain: Sequence[Interceptor]) -> Streaming:
    """Return what becomes of streamed answers."""
    return _settings_of(chain, STREAMING, Streaming)


@dataclass(frozen=True, kw_only=True)
class _Step:
    interceptor: Interceptor
    path: KeyPath  # for what is wrong with where it stands


@dataclass(frozen=True, kw_only=True)
class _Section(Merged):
    """A part of a document that says its places as the whole does."""

    whole: Merged
    path: KeyPath

    def origin(self, path: KeyPath) -> str | None:
        return self.whole.origin((*self.path, *path))

    def place(self, path: KeyPath) -> str:
        return self.whole.place((*self.path, *path))


def _steps(config: AdapterConfig, merged: Merged, path: KeyPath) -> Iterator[_Step]:
    given = flat_keys(config)
    if config.interceptors is None:
        for name, settings in flat_steps(given, merged, path):
            checked = _checked(name, settings, merged, path)
            yield _Step(interceptor=Interceptor(name=name, config=checked), path=path)
        return
    if given:
        first = next(iter(given))
        raise UsageError(
            f'"{first}" and a list of interceptors both stand there: two spellings of one chain',
            where=merged.place((*path, first)),
            next_step="keep the list, with what the other keys say as its settings",
        )
    folders = module_folders(config)
    for index, one in enumerate(config.interceptors):
        yield from _listed(one, folders, merged, (*path, "interceptors", index))


def _listed(one: Interceptor, folders: Sequence[str], merged: Merged, path: KeyPath) -> Iterator[_Step]:
    name = ALIASES.get(one.name, one.name)
    if not one.enabled and name != CACHING:
        if name == ENDPOINT:
            raise UsageError(
                "without `endpoint` nobody is asked",
                where=merged.place((*path, "enabled")),
                next_step="remove enabled: false",
            )
        return
    _refuse_unknown(name, folders, merged, (*path, "name"))
    config = _checked(name, one.config, merged, (*path, "config")) if name in BUILT_IN else one.config
    if not one.enabled:
        config = {**config, "reuse": False}
    yield _Step(interceptor=Interceptor(name=name, best_effort=one.best_effort, config=config), path=path)


def _installed(folders: Sequence[str]) -> set[str]:
    """Return the names of interceptors that packages bring, here and in the folders."""
    packages = importlib.metadata.distributions(path=[*sys.path, *folders])
    points = (point for package in packages for point in package.entry_points)
    return {point.name for point in points if point.group == ENTRY_POINTS}


def _refuse_unknown(name: str, folders: Sequence[str], merged: Merged, path: KeyPath) -> None:
    if name in ABSENT:
        why, step = ABSENT[name]
        raise UsageError(f'there is no interceptor "{name}": {why}', where=merged.place(path), next_step=step)
    if name in BUILT_IN or _MODULE_AND_CLASS.fullmatch(name):
        return
    installed = _installed(folders)
    if name not in installed:
        raise UsageError(
            f'unknown interceptor "{name}"',
            where=merged.place(path),
            next_step=f"{nearest(name, {*BUILT_IN, *installed})}; one of your own is named module:Class",
        )


def _checked(name: str, given: dict[str, Any], merged: Merged, path: KeyPath) -> dict[str, Any]:
    """Return the settings in our spelling; raises UsageError."""
    model = BUILT_IN[name].settings
    tree = {key: value for key, value in given.items() if key not in _idle_settings(name)}
    tree = {key: value for key, value in tree.items() if value is not None or not _unsets(model, key)}
    section = _Section(tree=tree, origins={}, whole=merged, path=path)
    return validate(model, section).model_dump(mode="json", exclude_unset=True)


def _unsets(model: type[Strict], key: str) -> bool:
    """Tell whether null under this key means its default: where null is no value of its own."""
    fields = model.model_fields.items()
    found = [info for name, info in fields if key == name or key in aliases(name, info)]
    return bool(found) and types.NoneType not in typing.get_args(found[0].annotation)


def _with_terminals(steps: list[_Step]) -> list[_Step]:
    """Return the chain with store and endpoint, which are there in any case."""
    names = [step.interceptor.name for step in steps]
    at = names.index(ENDPOINT) if ENDPOINT in names else len(steps)
    ends = [name for name in (CACHING, ENDPOINT) if name not in names]
    return [*steps[:at], *(_Step(interceptor=Interceptor(name=name), path=()) for name in ends), *steps[at:]]


def _refuse_repeats(steps: Sequence[_Step], merged: Merged) -> None:
    seen: set[str] = set()
    for step in steps:
        name = step.interceptor.name
        if name in seen and name in BUILT_IN and not BUILT_IN[name].may_repeat:
            raise UsageError(
                f'"{name}" stands in the chain twice', where=merged.place(step.path), next_step="keep one"
            )
        seen.add(name)


def _refuse_disorder(steps: Sequence[_Step], merged: Merged) -> None:
    seen: set[str] = set()
    for step in steps:
        name = step.interceptor.name
        if ENDPOINT in seen and name in BUILT_IN and BUILT_IN[name].changes_requests:
            raise UsageError(
                f'"{name}" acts on requests, and after "endpoint" they are gone',
                where=merged.place(step.path),
                next_step='put it before "endpoint"',
            )
        if name == "reasoning" and "reasoning_replay" in seen:
            raise UsageError(
                'answers pass from last to first, so "reasoning" cuts off what "reasoning_replay" is to keep',
                where=merged.place(step.path),
                next_step='put "reasoning" before "reasoning_replay"',
            )
        seen.add(name)
    _refuse_passed_streams(steps, merged)


def _refuse_passed_streams(steps: Sequence[_Step], merged: Merged) -> None:
    if streaming_of([step.interceptor for step in steps]).mode != "pass":
        return
    for step in steps:
        name = step.interceptor.name
        if name in BUILT_IN and BUILT_IN[name].changes_answers:
            raise UsageError(
                f'"{name}" changes answers, and streams that pass part by part cannot be changed',
                where=merged.place(step.path),
                next_step='leave "streaming" out, or set its mode: coalesce',
            )


def _refuse_leftovers(config: AdapterConfig, merged: Merged, path: KeyPath) -> None:
    """Raise UsageError for what stands beside the chain and cannot be carried out."""
    for index, hook in enumerate(config.post_eval_hooks or ()):
        if hook.enabled and hook.name != _REPORT_HOOK:
            raise UsageError(
                f'the hook "{hook.name}" is not known: nothing runs after a task',
                where=merged.place((*path, "post_eval_hooks", index)),
                next_step="remove it; an interceptor of your own may act in close()",
            )
    for key in config.discovery.keys() - {"modules", "dirs"}:
        raise UsageError(
            f'unknown key "{key}"',
            where=merged.place((*path, "discovery", key)),
            next_step=nearest(key, ("modules", "dirs")),
        )
    _refuse_endpoint_type(config, merged, path)


def _refuse_endpoint_type(config: AdapterConfig, merged: Merged, path: KeyPath) -> None:
    endpoint: Any = merged.tree
    for part in path[:-1]:
        endpoint = endpoint.get(part) if isinstance(endpoint, dict) else None
    said = endpoint.get("type") if isinstance(endpoint, dict) else None
    if config.endpoint_type not in (None, said):
        raise UsageError(
            "the endpoint's type belongs to the endpoint, not to its adapter",
            where=merged.place((*path, "endpoint_type")),
            next_step=f"remove it, and set api_endpoint.type: {config.endpoint_type}",
        )


def _idle(config: AdapterConfig) -> Iterator[tuple[KeyPath, str]]:
    for key in flat_keys(config):
        if key in IDLE_KEYS:
            yield (key,), IDLE_KEYS[key]
    for index, hook in enumerate(config.post_eval_hooks or ()):
        if hook.enabled:
            yield ("post_eval_hooks", index), IDLE_KEYS["generate_html_report"]
    if config.discovery.get("modules"):
        yield ("discovery", "modules"), "interceptors of your own are named where they stand: module:Class"
    for index, one in enumerate(config.interceptors or ()):
        idle = _idle_settings(ALIASES.get(one.name, one.name))
        for key in one.config if one.enabled else ():
            if key in idle:
                yield ("interceptors", index, "config", key), idle[key]


def _idle_settings(name: str) -> dict[str, str]:
    return {**IDLE_ANYWHERE, **IDLE_SETTINGS.get(name, {})} if name in BUILT_IN else {}


def _settings_of(chain: Iterable[Interceptor], name: str, model: type[Settings]) -> Settings:
    given = next((step.config for step in chain if step.name == name and step.enabled), {})
    return model.model_validate(given)
