"""NeMo's flat spelling of the adapter's chain, as steps."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from evaldock_entrypoints.contract.built_in_interceptors import CACHING, ENDPOINT
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import KeyPath, Merged
from evaldock_entrypoints.contract.target import AdapterConfig


@dataclass(frozen=True, kw_only=True)
class FlatStep:
    """How one interceptor is spelled: its switch, under all its names, and its settings."""

    name: str
    switches: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()  # each turns the interceptor on where the switch says nothing
    further: tuple[str, ...] = ()  # settings that are no reason to turn it on
    is_default: bool = False
    fixed: tuple[tuple[str, Any], ...] = ()


FLAT_STEPS = (  # in the order of the chain
    FlatStep(name="system_message", switches=("use_system_prompt",), settings=("custom_system_prompt",)),
    FlatStep(
        name="payload_modifier",
        settings=(
            *("params_to_add", "params_to_remove", "params_to_rename"),
            *("headers_to_add", "headers_to_remove", "headers_to_rename"),
        ),
    ),
    FlatStep(name="request_logging", switches=("use_request_logging",), settings=("max_logged_requests",)),
    FlatStep(name=CACHING, further=("reuse_cached_responses", "caching_dir"), is_default=True),
    FlatStep(name=ENDPOINT, is_default=True),
    FlatStep(name="response_stats", switches=("tracking_requests_stats",), is_default=True),
    FlatStep(
        name="response_logging",
        switches=("use_response_logging",),
        settings=("max_logged_responses",),
        further=("log_failed_requests",),
    ),
    FlatStep(
        name="reasoning",
        switches=("use_reasoning", "process_reasoning_traces"),
        settings=("start_reasoning_token", "end_reasoning_token", "include_if_reasoning_not_finished"),
        further=("track_reasoning",),
    ),
    FlatStep(
        name="progress_tracking",
        switches=("use_progress_tracking",),
        settings=("progress_tracking_url", "progress_tracking_interval"),
        fixed=(("request_method", "POST"),),
    ),
    FlatStep(name="raise_client_errors", switches=("use_raise_client_errors",)),
)

_KEPT = "every exchange is kept, request and answer"
_REPORTED = "report.html is always written, and `evaldock exchanges RUN` shows requests and answers"
IDLE_KEYS: Mapping[str, str] = {
    **dict.fromkeys(("save_requests", "save_responses", "max_saved_requests", "max_saved_responses"), _KEPT),
    **dict.fromkeys(("generate_html_report", "html_report_size"), _REPORTED),
}


def flat_keys(config: AdapterConfig) -> dict[str, Any]:
    """Return what stands there in the flat spelling; null is nothing."""
    beside = {"interceptors", "post_eval_hooks", "discovery", "endpoint_type"}
    given = {name: getattr(config, name) for name in sorted(config.model_fields_set - beside)}
    return {name: value for name, value in given.items() if value is not None}


def flat_steps(
    given: Mapping[str, Any], merged: Merged, path: KeyPath
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and settings, as spelled, of each interceptor in order; raises UsageError."""
    for step in FLAT_STEPS:
        settings = {key: given[key] for key in (*step.settings, *step.further) if key in given}
        if step.name == CACHING:
            yield CACHING, _caching(given, settings)
        elif step.name == "response_logging" and _only_failed(given):
            yield step.name, {"max_logged_responses": 0, "log_failed_requests": True}
        elif _is_on(step, given, merged, path):
            yield step.name, {**settings, **dict(step.fixed)}


def _is_on(step: FlatStep, given: Mapping[str, Any], merged: Merged, path: KeyPath) -> bool:
    said = {key: bool(given[key]) for key in step.switches if key in given}
    if len(set(said.values())) > 1:
        raise UsageError(
            f"{' and '.join(said)} are two names of one switch, and contradict each other",
            where=merged.place((*path, next(iter(said)))),
            next_step=f"keep {step.switches[-1]}",
        )
    if step.name == "system_message" and any(said.values()) and "custom_system_prompt" not in given:
        raise UsageError(
            "use_system_prompt without a system prompt",
            where=merged.place((*path, "use_system_prompt")),
            next_step="add custom_system_prompt: TEXT",
        )
    if said:
        return any(said.values())
    return step.is_default or any(given.get(key) not in (None, [], {}) for key in step.settings)


def _caching(given: Mapping[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the store, which is there in any case: what it holds is used, or not."""
    return {**settings, "reuse_cached_responses": False} if given.get("use_caching") is False else settings


def _only_failed(given: Mapping[str, Any]) -> bool:
    wanted = "use_response_logging" in given or "max_logged_responses" in given
    return bool(given.get("log_failed_requests")) and not wanted
