"""The settings of the interceptors that change requests (contract, section 4)."""

import re
from collections.abc import Iterable
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from evaldock_entrypoints.contract.fields import Strict, Whole, aliased

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CREDENTIAL = re.compile(
    r"authorization|cookie|api-?key|subscription-?key|(^|-)(auth|key|token|secret|password|credentials?)$"
)
_CREDENTIAL_VALUE = re.compile(r"\s*(bearer|basic)\s", re.IGNORECASE)
_OF_THE_CONNECTION = frozenset(
    {
        *("host", "content-length", "content-encoding", "content-type", "connection", "keep-alive", "te"),
        *("accept-encoding", "trailer", "transfer-encoding", "upgrade", "expect", "proxy-connection"),
    }
)


class SystemMessage(Strict):
    """A system message of your own; text before the prompt where there are no messages."""

    system_message: str = Field(
        min_length=1,
        validation_alias=aliased("system_message", "custom_system_prompt"),
        description="the text",
    )
    strategy: Literal["prepend", "append", "replace"] = Field(
        default="prepend", description="before or after the harness's own system message, or instead of it"
    )
    separator: str = Field(
        default="\n", description="between this text and what it joins: a system message, a prompt"
    )


class PayloadModifier(Strict):
    """Fields and headers of requests: removed, then renamed, then added."""

    params_to_add: dict[str, Any] = Field(
        default_factory=dict, description="set at the top of each body; a value there is replaced whole"
    )
    params_to_remove: list[str] = Field(default_factory=list, description="removed at every depth")
    params_to_rename: dict[str, str] = Field(default_factory=dict, description="renamed at every depth")
    headers_to_add: dict[str, str] = Field(
        default_factory=dict, description="set on each request; no secrets, nothing that carries the body"
    )
    headers_to_remove: list[str] = Field(default_factory=list, description="in any case of letters")
    headers_to_rename: dict[str, str] = Field(default_factory=dict, description="in any case of letters")

    @field_validator("params_to_add", "params_to_remove", "params_to_rename")
    @classmethod
    def _leave_streaming(cls, params: Any) -> Any:
        _refuse_stream(params)
        return params

    @field_validator("headers_to_add")
    @classmethod
    def _adds_no_secret(cls, headers: dict[str, str]) -> dict[str, str]:
        _refuse_headers(headers)
        for name, value in headers.items():
            if _CREDENTIAL_VALUE.match(value):
                raise ValueError(f'the header "{name}" carries a secret; name the variable: api_key_name')
            if not value.isprintable() or not value.isascii():
                raise ValueError(f'the header "{name}" holds what no header can carry; use plain characters')
        return headers

    @field_validator("headers_to_rename")
    @classmethod
    def _renames_to_no_secret(cls, headers: dict[str, str]) -> dict[str, str]:
        _refuse_headers(headers.values())
        return headers

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not any(getattr(self, name) for name in type(self).model_fields):
            raise ValueError(
                "it changes nothing; give params_to_add, params_to_remove or another of its keys"
            )
        return self


class DropParams(Strict):
    """Fields taken out at the top of each body, and nowhere below."""

    params: list[str] = Field(min_length=1, description="their names")

    @field_validator("params")
    @classmethod
    def _leave_streaming(cls, params: list[str]) -> list[str]:
        _refuse_stream(params)
        return params


class TurnCounter(Strict):
    """At most so many turns per conversation. A turn is an answer of the model among the messages."""

    max_turns: Whole = Field(ge=1, description="the turn after these is refused")
    remind: Literal["threshold", "periodic", "never"] = Field(
        default="threshold",
        validation_alias=aliased("remind", "trigger"),
        description="tell the model what is left: from 80 % on, every `interval` turns, or not at all",
    )
    interval: Whole = Field(default=1, ge=1, description="turns between two reminders that are periodic")
    position: Literal["system_message", "user_message"] = Field(
        default="system_message", description="a message at the end, or words at the end of the last user's"
    )


class ModifyTools(Strict):
    """The tools that a harness offers: removed, renamed, changed, added, in this order."""

    remove: list[str] = Field(default_factory=list, description="tools by name")
    rename: dict[str, str] = Field(
        default_factory=dict, description="a tool's name for the model; the harness sees its own name"
    )
    override: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="by the tool's new name: description, parameters or strict anew"
    )
    add: list[dict[str, Any]] = Field(default_factory=list, description="whole tools")
    tool_choice: str | dict[str, Any] | None = Field(default=None, description="null: as the harness says")
    strip_properties: list[str] = Field(default_factory=list, description="parameters gone from every tool")
    add_properties: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="parameters put into every tool that lacks them"
    )


class ConsolidateSystem(Strict):
    """All system messages as one at the top."""

    separator: str = Field(default="\n\n", description="between their texts")


class ReasoningReplay(Strict):
    """A model's earlier reasoning goes back to it where the harness left it out of the conversation."""

    form: Literal["think_tags", "native", "both"] = Field(
        default="think_tags",
        validation_alias=aliased("form", "mode"),
        description="between the tokens before the text; as reasoning_content; both",
    )
    start_reasoning_token: str = Field(
        default="<think>",
        min_length=1,
        validation_alias=aliased("start_reasoning_token", "tag_open"),
        description="before reasoning",
    )
    end_reasoning_token: str = Field(
        default="</think>",
        min_length=1,
        validation_alias=aliased("end_reasoning_token", "tag_close"),
        description="after it",
    )
    max_entries: Whole = Field(
        default=10_000,
        ge=1,
        validation_alias=aliased("max_entries", "cache_max_entries"),
        description="remembered answers; the oldest go first",
    )
    max_size_mb: Whole = Field(default=64, ge=1, description="memory that they may take")


def _refuse_stream(names: Iterable[Any]) -> None:
    if "stream" in names:
        raise ValueError(
            "the harness decides whether it reads a stream; set api_endpoint.stream for streams upstream"
        )


def _refuse_headers(names: Iterable[str]) -> None:
    for name in names:
        plain = name.lower().replace("_", "-")
        if _CREDENTIAL.search(plain):
            raise ValueError(f'the header "{name}" carries a secret; name the variable with it: api_key_name')
        if plain in _OF_THE_CONNECTION or not _HEADER.fullmatch(name):
            raise ValueError(f'the header "{name}" cannot be set; remove it')
