"""One plain connection to an endpoint: HTTP/1.1, one request at a time. plain.py says why it is our own."""

import asyncio
from typing import cast

import httptools

from evaldock_entrypoints.adapter.upstream.exchanger import (
    Bounds,
    EndedError,
    IdleError,
    NoHttpError,
    TooLongError,
    is_stream,
)

_LONGEST_HEAD = 1 << 18
_LONGEST_UNREAD = 1 << 18  # of a stream whose reader does not keep up


class Connection(asyncio.Protocol):
    """Sends a request and reads its answer: whole, or part by part where it is a stream of events.

    is_begun: the answer's head has come. is_whole: all of it has. has_ended: the connection is no more.
    """

    status: int
    headers: dict[str, str]  # lower-case names
    is_begun: bool
    is_stream: bool
    _is_paused: bool  # the reader of a stream does not keep up
    _transport: asyncio.Transport
    _bounds: Bounds
    _parts: list[bytes]  # of the body, not taken yet
    _error: Exception | None
    _waiter: asyncio.Future[None] | None

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._asked = self._spoke_first = self.has_ended = self.is_whole = self.is_begun = False
        self._timers: list[asyncio.TimerHandle] = []
        self.idle_since = 0.0

    # What whoever asks calls.

    async def ask(self, request: bytes, bounds: Bounds, *, wants_no_body: bool = False) -> None:
        """Send a request; return when its answer is whole, or its head has come where it is a stream.

        wants_no_body: it is of HEAD, whose answers have none. Raises TimeoutError and the errors above.
        """
        self._begin(bounds, wants_no_body=wants_no_body)
        if self._spoke_first:
            raise NoHttpError
        if self.has_ended:
            raise EndedError
        self._parser = httptools.HttpResponseParser(self)
        self._timers = [self._loop.call_at(bounds.deadline, self._fail, TimeoutError())]
        self._transport.write(request)
        await self._woken()

    async def part(self) -> bytes:
        """Return what has come of a stream, nothing at its end; raises as `ask` does."""
        while not self._parts and not self.is_whole:
            await self._woken()
        if self._is_paused:
            self._is_paused, self._heard_at = False, self._loop.time()
            self._transport.resume_reading()
        return self.taken()

    def taken(self) -> bytes:
        """Return the body as far as it has come and was not taken."""
        parts, self._parts = self._parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def rest(self) -> bool:
        """Leave the answer; return whether the connection is fit for another request."""
        self._end_timers()
        self._asked = False
        if self.has_ended or not self.is_whole or not self._is_kept:
            return False
        self.idle_since = self._loop.time()
        return not (self._transport.is_closing() or self._transport.get_write_buffer_size())

    def close(self) -> None:
        """Hang up at once: there is nothing left to say."""
        self._transport.abort()

    def _begin(self, bounds: Bounds, *, wants_no_body: bool) -> None:
        self.status = self._head_bytes = self._body_bytes = 0
        self.headers, self._parts, self._error, self._waiter = {}, [], None, None
        self.is_begun = self.is_whole = self.is_stream = False
        self._is_paused = self._until_end = self._is_kept = False
        self._bounds, self._wants_no_body, self._asked = bounds, wants_no_body, True

    async def _woken(self) -> None:
        if self._error is None:
            self._waiter = self._loop.create_future()
            await self._waiter
            self._waiter = None
        if self._error is not None:
            raise self._error

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has another base

    def data_received(self, data: bytes) -> None:
        if not self._asked:  # nobody asked for anything: not to be trusted with the next request
            self._spoke_first = not self.idle_since
            self._transport.abort()
            return
        if self.is_whole:  # nor with more than was asked for
            self._is_kept = False
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(NoHttpError())
            return
        if self.is_whole:
            return
        if self.is_begun:
            self._watch_pauses()
            return
        self._head_bytes += len(data)
        if self._head_bytes > _LONGEST_HEAD:
            self._fail(NoHttpError())

    def eof_received(self) -> None:
        if self._asked and self._until_end and not self.is_whole:
            self.on_message_complete()

    def connection_lost(self, error: Exception | None) -> None:
        self.has_ended = True
        if self._asked and not self.is_whole:
            self._fail(EndedError(str(error)) if error else EndedError())

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self.is_whole:  # another answer in the same breath: nobody asked for it
            self._is_kept = False
        else:
            self.headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.is_whole:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self.is_whole:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:  # a word on the way: the answer follows
            return
        self.is_begun = True
        headers = self.headers
        self._until_end = "content-length" not in headers and "transfer-encoding" not in headers
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > self._bounds.max_body_bytes:
            self._fail(TooLongError(self._bounds.max_body_bytes))
        elif self._wants_no_body:
            self._until_end = True  # the parser waits for a body: no other request on this connection
            self.on_message_complete()
        elif is_stream(self.status, headers):
            self.is_stream = True
            self._wake()

    def on_body(self, part: bytes) -> None:
        if self.is_whole:
            return
        self._parts.append(part)
        self._body_bytes += len(part)
        if self._body_bytes > self._bounds.max_body_bytes:
            self._fail(TooLongError(self._bounds.max_body_bytes))
        elif self.is_stream:
            self._wake()

    def on_message_complete(self) -> None:
        if self.status >= 200 and not self.is_whole:
            self.is_whole = True
            self._is_kept = self._parser.should_keep_alive() and not self._until_end
            self._wake()

    def _watch_pauses(self) -> None:
        """Start the clock that each part of a body restarts."""
        if not self._body_bytes:
            return
        self._heard_at = self._loop.time()
        if len(self._timers) == 1:
            self._timers.append(self._loop.call_later(self._bounds.idle_s, self._check_pause))
        if self.is_stream and not self._is_paused and sum(map(len, self._parts)) > _LONGEST_UNREAD:
            self._is_paused = True
            self._transport.pause_reading()

    def _check_pause(self) -> None:
        quiet_s = 0.0 if self._is_paused else self._loop.time() - self._heard_at
        if quiet_s >= self._bounds.idle_s:
            self._fail(IdleError())
        else:
            self._timers[1] = self._loop.call_later(self._bounds.idle_s - quiet_s, self._check_pause)

    def _fail(self, error: Exception) -> None:
        if self._error is None and not self.is_whole:
            self._error = error
            self._end_timers()
            self._transport.abort()
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _end_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
