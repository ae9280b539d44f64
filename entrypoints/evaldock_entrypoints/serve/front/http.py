"""Answers over raw ASGI: whole ones and server-sent events."""

from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson

from evaldock_entrypoints.serve.front.errors import ApiError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BODY_BYTES = 64 * 1024 * 1024


class Sender:
    """A `send` that knows whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.began = False

    async def __call__(self, message: Message) -> None:
        """Pass the message on."""
        self.began = True
        await self._send(message)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A whole answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class EventStream:
    """An answer of server-sent events; the generator yields JSON values, the end mark is added here."""

    events: AsyncGenerator[object, None]


def json_answer(value: object, status: int = 200) -> Answer:
    """Return an answer with a JSON body."""
    return Answer(status=status, body=orjson.dumps(value))


def error_answer(error: ApiError) -> Answer:
    """Return the answer for an error."""
    return Answer(status=error.status, body=error.body(), headers=error.headers)


def frame(value: object) -> bytes:
    """Return one server-sent event."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


async def read_body(receive: Receive) -> bytes | None:
    """Return the request's body, None when the client went away. Raises ApiError 413."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise ApiError(413, f"The body is larger than {MAX_BODY_BYTES} bytes.")
        if not message.get("more_body"):
            return bytes(body)


async def send_answer(send: Send, answer: Answer) -> None:
    """Send a whole answer."""
    headers = [(b"content-type", answer.content_type.encode()), (b"content-length", b"%d" % len(answer.body))]
    headers += [(name.encode(), value.encode()) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def send_stream(send: Send, stream: EventStream) -> None:
    """Send events as they come; an error on the way becomes the last event, in place of the end mark."""
    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    try:
        async for value in stream.events:
            await send({"type": "http.response.body", "body": frame(value), "more_body": True})
    except ApiError as error:
        await send({"type": "http.response.body", "body": b"data: " + error.body() + b"\n\n"})
        return
    finally:
        await stream.events.aclose()
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
