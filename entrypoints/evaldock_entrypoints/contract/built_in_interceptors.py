"""Which interceptors evaldock brings: their names, their settings, and what other adapters call them."""

from collections.abc import Mapping
from dataclasses import dataclass

from evaldock_entrypoints.contract.answer_interceptors import (
    FinishReason,
    ProgressTracking,
    RaiseClientErrors,
    Reasoning,
    RequestLogging,
    ResponseLogging,
    ResponseStats,
)
from evaldock_entrypoints.contract.fields import Strict
from evaldock_entrypoints.contract.interceptors import Caching, EndpointPolicy, NoSettings, Streaming
from evaldock_entrypoints.contract.request_interceptors import (
    ConsolidateSystem,
    DropParams,
    ModifyTools,
    PayloadModifier,
    ReasoningReplay,
    SystemMessage,
    TurnCounter,
)

ENTRY_POINTS = "evaldock.interceptors"
CACHING, ENDPOINT, STREAMING = "caching", "endpoint", "streaming"


@dataclass(frozen=True, kw_only=True)
class BuiltIn:
    """An interceptor of our own. changes_requests: it acts on them, and must stand before `endpoint`."""

    settings: type[Strict]
    changes_requests: bool = False
    changes_answers: bool = False  # it needs streamed answers whole
    may_repeat: bool = False  # may stand in a chain more than once
    only_records: bool = False  # what it leaves is of no use where stored answers are asked again


BUILT_IN: Mapping[str, BuiltIn] = {
    "system_message": BuiltIn(settings=SystemMessage, changes_requests=True, may_repeat=True),
    "consolidate_system": BuiltIn(settings=ConsolidateSystem, changes_requests=True),
    "payload_modifier": BuiltIn(settings=PayloadModifier, changes_requests=True, may_repeat=True),
    "drop_params": BuiltIn(settings=DropParams, changes_requests=True, may_repeat=True),
    "modify_tools": BuiltIn(settings=ModifyTools, changes_requests=True, changes_answers=True),
    "turn_counter": BuiltIn(settings=TurnCounter, changes_requests=True),
    "reasoning_replay": BuiltIn(settings=ReasoningReplay, changes_requests=True),
    "request_logging": BuiltIn(settings=RequestLogging, changes_requests=True, only_records=True),
    CACHING: BuiltIn(settings=Caching),
    ENDPOINT: BuiltIn(settings=EndpointPolicy),
    STREAMING: BuiltIn(settings=Streaming),
    "response_stats": BuiltIn(settings=ResponseStats, only_records=True),
    "token_log": BuiltIn(settings=NoSettings, only_records=True),
    "response_logging": BuiltIn(settings=ResponseLogging, only_records=True),
    "finish_reason": BuiltIn(settings=FinishReason, changes_answers=True),
    "reasoning": BuiltIn(settings=Reasoning, changes_answers=True),
    "progress_tracking": BuiltIn(settings=ProgressTracking, only_records=True),
    "raise_client_errors": BuiltIn(settings=RaiseClientErrors),
}

ALIASES: Mapping[str, str] = {"log_tokens": "token_log"}

# name → why there is none, what to do
ABSENT: Mapping[str, tuple[str, str]] = {
    "nvcf": ("answers that are fetched by polling are not read", "evaluate an endpoint that answers at once"),
    "omni_info": (
        "image assets are not uploaded to a vendor's store",
        "evaluate an endpoint that takes images in the request",
    ),
    "logging": ("requests and answers have a log each", "name request_logging, response_logging or both"),
    "http_pairs_dump": (
        "every exchange is kept in any case",
        "remove it; `evaldock exchanges RUN` shows them",
    ),
}

_KEPT = "every exchange is kept, request and answer"
_COUNTED = "all of it is always counted"
_FOLDER = "it is written into the task's folder"
_STORE = "what is counted comes from the store of exchanges, also after a resume"
# interceptor → key of other adapters that has no meaning here → why
IDLE_SETTINGS: Mapping[str, Mapping[str, str]] = {
    CACHING: dict.fromkeys(
        ("save_requests", "save_responses", "max_saved_requests", "max_saved_responses"), _KEPT
    ),
    "request_logging": {"output_dir": _FOLDER},
    "response_logging": {"output_dir": _FOLDER},
    "progress_tracking": {"output_dir": _FOLDER},
    "response_stats": {
        **dict.fromkeys(("collect_token_stats", "collect_finish_reasons", "collect_tool_calls"), _COUNTED),
        **dict.fromkeys(("cache_dir", "save_individuals", "logging_aggregated_stats_interval"), _STORE),
    },
    "reasoning": dict.fromkeys(
        (
            *("cache_dir", "enable_caching", "save_individuals", "stats_file_saving_interval"),
            "logging_aggregated_stats_interval",
        ),
        _STORE,
    ),
    "reasoning_replay": {"log_misses": "the delivery records how many answers got their reasoning back"},
    "turn_counter": {"every": "each delivery records its turn"},
}
IDLE_ANYWHERE: Mapping[str, str] = {"log_level": "interceptors write no log beside their files"}
