"""Server-sent events: read part by part, put together to one answer, made from one.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html; what OpenAI puts into it:
https://platform.openai.com/docs/api-reference/chat-streaming.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from evaldock_entrypoints.adapter.parts import Assembly

DONE = b"[DONE]"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FIELD = b"data:"
_STRETCH = 65536
_MESSAGE_ONLY = frozenset({"index", "message", "text", "logprobs", "finish_reason"})


class EventParser:
    """Takes bytes as they come, split anywhere, and gives each event's data once the event has ended."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # of the event that has not ended yet
        self._held = b""  # a CR whose LF may still come
        self._is_begun = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of the events that end in this chunk."""
        chunk = self._held + chunk
        if not self._is_begun and chunk:
            self._is_begun = True
            chunk = chunk.removeprefix(_BYTE_ORDER_MARK)
        self._held = b"\r" if chunk.endswith(b"\r") else b""
        text = _with_line_feeds(chunk[: len(chunk) - len(self._held)])
        self._parts.append(text)
        if b"\n" not in text:
            return []
        *blocks, rest = b"".join(self._parts).split(b"\n\n")
        self._parts = [rest]
        return [data for block in blocks if (data := _data(block)) is not None]

    def close(self) -> list[bytes]:
        """Return the data of a last event that lacks its blank line: some servers end so after [DONE]."""
        last = _data(b"".join(self._parts).strip(b"\n"))
        self._parts.clear()
        return [] if last is None else [last]


def events(raw: bytes) -> Iterator[bytes]:
    """Yield the data of all events of a whole stream, without a second copy of it."""
    parser = EventParser()
    for start in range(0, len(raw), _STRETCH):
        yield from parser.feed(raw[start : start + _STRETCH])
    yield from parser.close()


def assembled(raw: bytes) -> Assembly:
    """Return a whole stream's parts, put together."""
    assembly = Assembly()
    for data in events(raw):
        assembly.add(data)
    return assembly


def coalesced(raw: bytes) -> dict[str, Any]:
    """Return what a whole stream adds up to, as the answer would be without streaming."""
    return assembled(raw).tree()


def as_events(tree: Mapping[str, Any], *, include_usage: bool = False) -> bytes:
    """Return an answer as the stream that a client accepts; include_usage: a last event tells the usage."""
    is_chat = any("message" in choice for choice in tree["choices"])
    shared = {name: value for name, value in tree.items() if name not in ("choices", "usage")}
    shared["object"] = "chat.completion.chunk" if is_chat else "text_completion"
    if include_usage:
        shared["usage"] = None
    pieces = _chat_pieces if is_chat else _completion_pieces
    chunks = [shared | {"choices": [piece]} for choice in tree["choices"] for piece in pieces(choice)]
    if include_usage and tree.get("usage"):
        chunks.append(shared | {"choices": [], "usage": tree["usage"]})
    lines = [*map(orjson.dumps, chunks), DONE]
    return b"".join(b"data: " + line + b"\n\n" for line in lines)


def _chat_pieces(choice: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    message = choice.get("message") or {}
    delta = {name: value for name, value in message.items() if value is not None and name != "role"}
    calls = [call for call in message.get("tool_calls") or () if isinstance(call, dict)]
    if calls:
        delta["tool_calls"] = [{"index": index} | call for index, call in enumerate(calls)]
    others = {name: value for name, value in choice.items() if name not in _MESSAGE_ONLY}
    bare = {"index": choice.get("index", 0), "delta": {}, "logprobs": None, "finish_reason": None}
    # Without the log-probabilities: OpenAI's client counts those of a choice's first part twice.
    empty = None if message.get("content") is None else ""
    yield bare | {"delta": {"role": message.get("role") or "assistant", "content": empty}}
    yield bare | {"delta": delta, "logprobs": choice.get("logprobs")}
    yield bare | {"finish_reason": choice.get("finish_reason")} | others


def _completion_pieces(choice: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    yield {"index": 0, "logprobs": None, "finish_reason": None} | dict(choice)


def _with_line_feeds(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def _data(block: bytes) -> bytes | None:
    if block.startswith(_FIELD) and b"\n" not in block:
        return _value(block)
    lines = [_value(line) for line in block.split(b"\n") if line.startswith(_FIELD) or line == b"data"]
    return b"\n".join(lines) if lines else None


def _value(line: bytes) -> bytes:
    return line[len(_FIELD) :].removeprefix(b" ")
