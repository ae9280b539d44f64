"""An answer before it is JSON: what was said, why it ended, what it cost."""

from dataclasses import dataclass
from typing import Literal

import orjson

from evaldock.testkit.fake_endpoint.logprobs import TokenLogprobs
from evaldock.testkit.fake_endpoint.table import Item, ToolCall

# Fixed, so that the same request gets the same bytes on any day.
CREATED = 1_700_000_000

FinishReason = Literal["stop", "length", "tool_calls"]
JsonObject = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One choice of an answer; `text` is None for a null content."""

    index: int
    text: str | None
    finish_reason: FinishReason
    reasoning: str | None = None
    tool_call: ToolCall | None = None
    logprobs: TokenLogprobs | None = None


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int = 0

    def body(self) -> JsonObject:
        """The usage object of a response."""
        body: JsonObject = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }
        if self.reasoning_tokens:
            body["completion_tokens_details"] = {"reasoning_tokens": self.reasoning_tokens}
        return body


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one prompt asked and got, for the statistics; `item` None means no item's match was in it."""

    item: Item | None
    right: bool
    no_choice: bool = False  # log-probabilities asked, but the prompt ends with none of the choices


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Everything a generation route answers with; `usage` None means the field is missing."""

    route: Literal["completions", "chat"]
    id: str
    model: str
    choices: tuple[Choice, ...]
    usage: Usage | None
    outcomes: tuple[Outcome, ...]
    stream: bool = False
    include_usage: bool = False

    def body(self) -> JsonObject:
        """The response of a request that does not stream."""
        render = _completion_choice if self.route == "completions" else _chat_choice
        body: JsonObject = {
            "id": self.id,
            "object": "text_completion" if self.route == "completions" else "chat.completion",
            "created": CREATED,
            "model": self.model,
            "choices": [render(choice) for choice in self.choices],
        }
        if self.usage is not None:
            body["usage"] = self.usage.body()
        return body


def completion_logprobs(logprobs: TokenLogprobs | None) -> JsonObject | None:
    """The `logprobs` object of a completions choice."""
    if logprobs is None:
        return None
    return {
        "tokens": logprobs.tokens,
        "token_logprobs": logprobs.values,
        "top_logprobs": logprobs.top,
        "text_offset": logprobs.offsets,
    }


def chat_logprobs(logprobs: TokenLogprobs | None) -> JsonObject | None:
    """The `logprobs` object of a chat choice."""
    if logprobs is None:
        return None
    content: list[JsonObject] = []
    for token, value, top in zip(logprobs.tokens, logprobs.values, logprobs.top, strict=True):
        others = [_chat_token(name, other) for name, other in (top or {}).items()]
        content.append(_chat_token(token, value) | {"top_logprobs": others})
    return {"content": content}


def tool_calls(call: ToolCall, identity: str) -> list[JsonObject]:
    """The `tool_calls` list of a message."""
    function = {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()}
    return [{"id": f"call_{identity}", "type": "function", "function": function}]


def _completion_choice(choice: Choice) -> JsonObject:
    return {
        "index": choice.index,
        "text": choice.text,
        "logprobs": completion_logprobs(choice.logprobs),
        "finish_reason": choice.finish_reason,
    }


def _chat_choice(choice: Choice) -> JsonObject:
    message: JsonObject = {"role": "assistant", "content": choice.text}
    if choice.reasoning is not None:
        message["reasoning_content"] = choice.reasoning
    if choice.tool_call is not None:
        message["tool_calls"] = tool_calls(choice.tool_call, str(choice.index))
    return {
        "index": choice.index,
        "message": message,
        "logprobs": chat_logprobs(choice.logprobs),
        "finish_reason": choice.finish_reason,
    }


def _chat_token(token: str, value: float | None) -> JsonObject:
    return {"token": token, "logprob": value, "bytes": list(token.encode())}
