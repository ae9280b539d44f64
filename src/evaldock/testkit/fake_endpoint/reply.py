"""A response before it goes on the wire: whole JSON bodies and server-sent events."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import orjson

from evaldock.testkit.fake_endpoint import tokenizer
from evaldock.testkit.fake_endpoint.answer import (
    CREATED,
    Answer,
    Choice,
    JsonObject,
    chat_logprobs,
    completion_logprobs,
    tool_calls,
)
from evaldock.testkit.fake_endpoint.logprobs import TokenLogprobs

# A longer answer is cut into bigger pieces, so that a 10 MiB one does not become millions of events.
_MAX_EVENTS = 1000
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Status, headers and body; a streamed body is sent chunk by chunk without a length."""

    status: int
    chunks: tuple[bytes, ...]
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    stream: bool = False

    @property
    def body(self) -> bytes:
        """All of the body."""
        return b"".join(self.chunks)


def json_reply(value: object, *, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """A JSON response."""
    return Reply(status=status, chunks=(orjson.dumps(value),), headers=headers)


def answer_reply(answer: Answer) -> Reply:
    """The response for a generation route: JSON, or events ending in [DONE]."""
    if not answer.stream:
        return json_reply(answer.body())
    chunks = tuple(b"data: " + orjson.dumps(event) + b"\n\n" for event in _events(answer))
    return Reply(status=200, chunks=(*chunks, DONE), content_type="text/event-stream", stream=True)


def _events(answer: Answer) -> Iterator[JsonObject]:
    for choice in answer.choices:
        deltas = _completion_deltas(choice) if answer.route == "completions" else _chat_deltas(choice)
        for delta in deltas:
            yield _event(answer, [{"index": choice.index, "finish_reason": None} | delta])
    if answer.include_usage and answer.usage is not None:
        yield _event(answer, []) | {"usage": answer.usage.body()}


def _event(answer: Answer, choices: list[JsonObject]) -> JsonObject:
    kind = "text_completion" if answer.route == "completions" else "chat.completion.chunk"
    return {"id": answer.id, "object": kind, "created": CREATED, "model": answer.model, "choices": choices}


def _completion_deltas(choice: Choice) -> Iterator[JsonObject]:
    for text, logprobs in _pieces(choice.text, choice.logprobs):
        yield {"text": text, "logprobs": completion_logprobs(logprobs)}
    yield {"text": "", "logprobs": None, "finish_reason": choice.finish_reason}


def _chat_deltas(choice: Choice) -> Iterator[JsonObject]:
    yield {"delta": {"role": "assistant", "content": None if choice.text is None else ""}}
    for text, _ in _pieces(choice.reasoning, None):
        yield {"delta": {"reasoning_content": text}}
    for text, logprobs in _pieces(choice.text, choice.logprobs):
        yield {"delta": {"content": text}, "logprobs": chat_logprobs(logprobs)}
    if choice.tool_call is not None:
        calls = [
            call | {"index": i} for i, call in enumerate(tool_calls(choice.tool_call, str(choice.index)))
        ]
        yield {"delta": {"tool_calls": calls}}
    yield {"delta": {}, "finish_reason": choice.finish_reason}


def _pieces(text: str | None, logprobs: TokenLogprobs | None) -> Iterator[tuple[str, TokenLogprobs | None]]:
    """Runs of tokens; with log-probabilities, the slice that belongs to each run."""
    ids = logprobs.ids if logprobs else tokenizer.encode(text or "")
    size = 1 + len(ids) // _MAX_EVENTS
    for start in range(0, len(ids), size):
        run = slice(start, start + size)
        yield tokenizer.decode(list(ids[run])), _slice(logprobs, run) if logprobs else None


def _slice(logprobs: TokenLogprobs, run: slice) -> TokenLogprobs:
    return replace(
        logprobs,
        ids=logprobs.ids[run],
        tokens=logprobs.tokens[run],
        values=logprobs.values[run],
        top=logprobs.top[run],
        offsets=logprobs.offsets[run],
    )
