"""From an interceptor's name to the interceptor: a built-in one, an entry point, or module:Class."""

import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from evaldock_entrypoints.adapter.interceptor import Context, Interceptor
from evaldock_entrypoints.contract import target
from evaldock_entrypoints.contract.built_in_interceptors import ENTRY_POINTS
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.validation import nearest
from evaldock_entrypoints.contract.wording import reason

_PACKAGE = "evaldock_entrypoints.adapter.interceptors"
CLASSES: Mapping[str, str] = {
    "caching": f"{_PACKAGE}.settings_only:Caching",
    "consolidate_system": f"{_PACKAGE}.consolidate_system:ConsolidateSystem",
    "drop_params": f"{_PACKAGE}.drop_params:DropParams",
    "endpoint": f"{_PACKAGE}.settings_only:Endpoint",
    "finish_reason": f"{_PACKAGE}.finish_reason:FinishReason",
    "modify_tools": f"{_PACKAGE}.modify_tools:ModifyTools",
    "payload_modifier": f"{_PACKAGE}.payload_modifier:PayloadModifier",
    "progress_tracking": f"{_PACKAGE}.progress_tracking:ProgressTracking",
    "raise_client_errors": f"{_PACKAGE}.raise_client_errors:RaiseClientErrors",
    "reasoning": f"{_PACKAGE}.reasoning:Reasoning",
    "reasoning_replay": f"{_PACKAGE}.reasoning_replay:ReasoningReplay",
    "request_logging": f"{_PACKAGE}.request_logging:RequestLogging",
    "response_logging": f"{_PACKAGE}.response_logging:ResponseLogging",
    "response_stats": f"{_PACKAGE}.response_stats:ResponseStats",
    "streaming": f"{_PACKAGE}.settings_only:Streaming",
    "system_message": f"{_PACKAGE}.system_message:SystemMessage",
    "token_log": f"{_PACKAGE}.token_log:TokenLog",
    "turn_counter": f"{_PACKAGE}.turn_counter:TurnCounter",
}


def build(interceptor: target.Interceptor, context: Context) -> Interceptor[Any]:
    """Return the interceptor for one task; raises UsageError with the reason."""
    kind = _class(interceptor.name)
    try:
        config = kind.Config.model_validate(interceptor.config)
    except ValidationError as error:
        raise _unusable(interceptor.name, reason(error), "change its config") from error
    try:
        return kind(config, context)
    except Exception as error:
        message = f"it cannot be made: {type(error).__name__}: {error}"
        raise _unusable(interceptor.name, message, "see its class") from error


def _class(name: str) -> type[Interceptor[Any]]:
    found = _loaded(name)
    if not (isinstance(found, type) and issubclass(found, Interceptor)):
        raise _unusable(
            name,
            f"{found!r} is no sub-class of {Interceptor.__module__}.{Interceptor.__name__}",
            "make it one, and override on_request, on_response or both",
        )
    if not issubclass(found.Config, BaseModel):
        raise _unusable(name, f"its Config is {found.Config!r}", "make it a sub-class of Strict")
    return found


def _loaded(name: str) -> Any:
    path = CLASSES.get(name, name)
    if ":" in path:
        return _object(name, path)
    points = {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    if name not in points:
        raise UsageError(
            f'unknown interceptor "{name}"', where=name, next_step=nearest(name, {*CLASSES, *points})
        )
    return _object(name, points[name].value)


def _object(name: str, path: str) -> Any:
    module, _, attributes = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
    except Exception as error:
        raise _unusable(
            name, f"{type(error).__name__}: {error}", "install it where the adapter runs"
        ) from error
    return found


def _unusable(name: str, message: str, next_step: str) -> UsageError:
    return UsageError(f'the interceptor "{name}": {message}', where=name, next_step=next_step)
