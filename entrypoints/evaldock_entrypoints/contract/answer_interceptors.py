"""The settings of the interceptors that look at answers, change them or count them (contract, section 4)."""

from typing import Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, field_validator, model_validator

from evaldock_entrypoints.contract.fields import Strict, Switch, Whole, aliased
from evaldock_entrypoints.contract.interceptors import Seconds
from evaldock_entrypoints.contract.secrets import is_secret_name

FinishReasonWord = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class RequestLogging(Strict):
    """The first requests, as they leave this step, in logs/requests.jsonl."""

    max_requests: Whole | None = Field(
        default=2,
        ge=0,
        validation_alias=aliased("max_requests", "max_logged_requests"),
        description="at most; null: all",
    )
    log_request_body: Switch = Field(default=True, description="with its body")
    log_request_headers: Switch = Field(default=True, description="with its headers")


class ResponseLogging(Strict):
    """Answers, as they reach this step, in logs/responses.jsonl."""

    max_responses: Whole | None = Field(
        default=None,
        ge=0,
        validation_alias=aliased("max_responses", "max_logged_responses"),
        description="at most; null: all",
    )
    log_response_body: Switch = Field(default=True, description="with its body")
    log_response_headers: Switch = Field(default=True, description="with its headers")
    log_failed_requests: Switch = Field(
        default=False, description="each failed one as well, with its request, beyond max_responses"
    )


class Reasoning(Strict):
    """Reasoning is cut off what the harness sees, and counted; the store keeps it."""

    start_reasoning_token: str | None = Field(
        default="<think>", min_length=1, description="where it begins; null: at the start of each answer"
    )
    end_reasoning_token: str = Field(default="</think>", min_length=1, description="where it ends")
    include_if_not_finished: Switch = Field(
        default=True,
        validation_alias=aliased("include_if_not_finished", "include_if_reasoning_not_finished"),
        description="hand an answer over whose reasoning does not end; false: it becomes empty",
    )
    strip: Switch = Field(
        default=True,
        validation_alias=aliased("strip", "add_reasoning"),
        description="false: count it and leave answers as they are",
    )
    migrate_reasoning_content: Switch = Field(
        default=False,
        description="instead of cutting: a server's reasoning field goes into the text, between the tokens",
    )
    track: Switch = Field(
        default=True,
        validation_alias=aliased("track", "track_reasoning", "enable_reasoning_tracking"),
        description="count words, tokens and unfinished reasoning of each answer",
    )

    @model_validator(mode="after")
    def _is_clear(self) -> Self:
        if self.migrate_reasoning_content and self.strip and "strip" in self.model_fields_set:
            raise ValueError("strip and migrate_reasoning_content contradict each other; keep one")
        if self.migrate_reasoning_content and self.start_reasoning_token is None:
            raise ValueError("migrate_reasoning_content needs a start_reasoning_token; give one")
        return self


class RaiseClientErrors(Strict):
    """A client error ends the task: nothing more is asked, and the error names the status."""

    status_codes: list[Whole] = Field(default_factory=list, description="these in any case")
    exclude_status_codes: list[Whole] = Field(default_factory=lambda: [408, 429], description="never these")
    status_code_range_start: Whole = Field(default=400, ge=400, le=599, description="from this one")
    status_code_range_end: Whole = Field(default=499, ge=400, le=599, description="to this one")

    @model_validator(mode="after")
    def _is_clear(self) -> Self:
        both = sorted(set(self.status_codes) & set(self.exclude_status_codes))
        if both:
            raise ValueError(f"{both[0]} is both asked for and excluded; remove it from one of the lists")
        if self.status_code_range_end < self.status_code_range_start:
            raise ValueError("the range of status codes ends before it begins; swap its ends")
        return self


class ResponseStats(Strict):
    """Counts, tokens, latencies and finish reasons of all answers, in logs/response_stats.json."""

    interval: Whole = Field(
        default=100,
        ge=1,
        validation_alias=aliased("interval", "stats_file_saving_interval", "every"),
        description="written anew after so many answers, and at the end",
    )


class FinishReason(Strict):
    """Other servers' words for why an answer ended, as OpenAI spells them."""

    mapping: dict[str, FinishReasonWord] = Field(
        default_factory=dict, description="further words, or another reading of a known one"
    )


class ProgressTracking(Strict):
    """How many answers were delivered: in the task's file `progress`, and at an address of yours."""

    url: str | None = Field(
        default=None,
        validation_alias=aliased("url", "progress_tracking_url", "webhook_url"),
        description="http(s) address that is told; null: only the file",
    )
    interval: Whole = Field(
        default=1,
        ge=1,
        validation_alias=aliased("interval", "progress_tracking_interval", "every"),
        description="told after so many answers",
    )
    interval_seconds: Seconds | None = Field(
        default=None,
        gt=0,
        validation_alias=aliased("interval_seconds", "progress_tracking_interval_seconds"),
        description="and after so many seconds, where the count has grown",
    )
    request_method: Literal["PATCH", "POST", "PUT"] = Field(default="PATCH", description="of telling")
    timeout_s: Seconds = Field(default=10.0, gt=0, description="until telling is given up; no answer waits")

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "$" in url:
            raise ValueError("it is no http(s) address; write http://HOST:PORT/PATH, variables filled in")
        if parts.username or any(is_secret_name(name) for name, _ in parse_qsl(parts.query)):
            raise ValueError("the address holds a key; leave it out")
        return url
