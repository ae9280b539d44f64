"""A harness's connection, as far as one request of it goes."""

import socket
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import orjson

from evaldock_entrypoints.adapter.upstream.headers import NOT_SENT

MAX_BODY_BYTES = 64 * 1024**2
_SOON_S = 0.2  # no harness gives up sooner
EVENT_STREAM = "text/event-stream"
_CREDENTIALS = {"authorization", "api-key", "x-api-key", "proxy-authorization", "cookie"}  # we have the key
_DROPPED = frozenset(name.encode() for name in NOT_SENT | _CREDENTIALS)

Scope = dict[str, Any]


class TooLargeError(Exception):
    """The request's body is longer than the adapter takes."""


class Client:
    """One request's connection: read the body, send an answer, know whether it arrived."""

    __slots__ = ("_began", "_begun", "_receive", "_scope", "_send", "_transport", "is_crowded")

    def __init__(self, scope: Scope, receive: Any, send: Any, *, is_crowded: bool = False) -> None:
        """is_crowded: the connection is closed after the answer, to make room for another."""
        self._scope, self._receive, self._send = scope, receive, send
        self._transport = scope["extensions"]["evaldock.transport"]
        self._begun = False
        self._began = time.monotonic()
        self.is_crowded = is_crowded

    def headers(self) -> dict[str, str]:
        """Return the headers that go on to the endpoint, with lower-case names."""
        found: Iterable[tuple[bytes, bytes]] = self._scope["headers"]
        return {name.decode(): value.decode("latin-1") for name, value in found if name not in _DROPPED}

    async def body(self) -> bytes:
        """Return the whole body; raises TooLargeError, ConnectionResetError where the client hung up."""
        message = await self._receive()
        if message["type"] == "http.request" and not message["more_body"]:
            whole: bytes = message["body"]
            return whole
        parts = bytearray()
        while message["type"] == "http.request":
            parts += message["body"]
            if len(parts) > MAX_BODY_BYTES:
                raise TooLargeError
            if not message["more_body"]:
                return bytes(parts)
            message = await self._receive()
        raise ConnectionResetError

    async def send(self, status: int, headers: Mapping[str, str], body: bytes) -> bool:
        """Send a whole answer; return whether the client was still there to take it."""
        is_there = not self._has_left()  # asked before: after the answer we may close it
        await self._start(status, {**headers, "content-length": str(len(body))})
        await self._send_part(body, is_last=True)
        return is_there

    async def send_error(self, status: int, message: str, code: str, kind: str = "evaldock_error") -> bool:
        """Send an error as OpenAI spells them, which clients are told not to ask again."""
        body = orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})
        headers = {"content-type": "application/json", "x-should-retry": "false"}
        return await self.send(status, headers, body)

    async def part(self, status: int, headers: Mapping[str, str], chunk: bytes) -> None:
        """Send a part of a streamed answer, before the first one its head."""
        if not self._begun:
            await self._start(status, headers)
        await self._send_part(chunk, is_last=False)

    async def end(self) -> bool:
        """End a streamed answer; return whether the client was still there to take it."""
        is_there = not self._has_left()
        await self._send_part(b"", is_last=True)
        return is_there

    async def cut(self, message: str) -> None:
        """Break a streamed answer off: an error event, then no proper end."""
        event = orjson.dumps({"error": {"message": message, "type": "evaldock_error", "code": "cut"}})
        await self._send_part(b"data: " + event + b"\n\n", is_last=False)
        self._transport.close()

    def is_gone(self) -> bool:
        """Tell whether the client has hung up, also where the loop has not noticed yet."""
        if self._transport.is_closing():
            return True
        number = self._transport.get_extra_info("socket").fileno()
        with suppress(BlockingIOError), socket.socket(fileno=socket.dup(number)) as peer:
            try:
                return peer.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
            except ConnectionResetError:  # it hung up with bytes unread
                return True
        return False

    def _has_left(self) -> bool:
        """Tell whether nobody takes the answer: one who waited long may have hung up a moment ago."""
        waited_s = time.monotonic() - self._began
        return self.is_gone() if waited_s > _SOON_S else bool(self._transport.is_closing())

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self._begun = True
        lines = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        if self.is_crowded:
            lines.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": status, "headers": lines})

    async def _send_part(self, part: bytes, *, is_last: bool) -> None:
        await self._send({"type": "http.response.body", "body": part, "more_body": not is_last})
