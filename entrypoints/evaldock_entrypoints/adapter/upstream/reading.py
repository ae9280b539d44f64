"""Reads an answer's body: bounded, with an eye on the clock, and streams part by part."""

import time
from collections.abc import Mapping

import aiohttp

from evaldock_entrypoints.adapter.parts import Assembly
from evaldock_entrypoints.adapter.redaction import Redaction
from evaldock_entrypoints.adapter.sse import EventParser
from evaldock_entrypoints.adapter.upstream.reply import Sink


class TooLongError(Exception):
    """The body is longer than is taken."""


class Reading:
    """One body on its way in. first_at: when the first token came, on the clock of perf_counter."""

    def __init__(self, *, sink: Sink | None, redact: Redaction, max_body_bytes: int) -> None:
        self.is_begun = False  # the head has come
        self.first_at: float | None = None
        self.sunk = False
        self.sink_failed = False
        self._sink, self._redact, self._max_body_bytes = sink, redact, max_body_bytes
        self._size_bytes = 0

    async def body(
        self, response: aiohttp.ClientResponse, headers: Mapping[str, str], idle_s: float
    ) -> bytes:
        """Return the whole body; raises TooLongError, aiohttp's errors, and what the sink raises.

        idle_s: between two parts, once the first one has come: until then the endpoint may be thinking.
        """
        self.is_begun = True
        content = response.content
        self._count(response.content_length or 0, 0)
        is_stream = response.status == 200 and headers.get("content-type", "").startswith("text/event-stream")
        if content.is_eof() and not is_stream:
            return content.read_nowait()
        watch = _Watch() if is_stream else None
        parts: list[bytes] = []
        while part := await content.readany():
            if not parts:
                _bound_pauses(response, idle_s)
            parts.append(part)
            self._count(0, len(part))
            if watch is not None:
                await self._see(watch, part, response.status, headers)
        return b"".join(parts)

    async def _see(self, watch: "_Watch", part: bytes, status: int, headers: Mapping[str, str]) -> None:
        if self.first_at is None:
            watch.add(part)
            self.first_at = time.perf_counter() if watch.assembly.carries_content else None
        if self._sink is None:
            return
        if self.sunk:
            await self._pass(part, status, headers)
        elif watch.is_good:  # what begins with an error is asked again instead
            await self._pass(b"".join(watch.seen), status, headers)

    async def _pass(self, part: bytes, status: int, headers: Mapping[str, str]) -> None:
        assert self._sink is not None
        self.sunk = True
        try:
            await self._sink(status, headers, self._redact.answer_body(part))
        except BaseException:
            self.sink_failed = True
            raise

    def _count(self, announced: int, read: int) -> None:
        self._size_bytes += read
        if max(self._size_bytes, announced) > self._max_body_bytes:
            raise TooLongError(f"the answer is longer than {self._max_body_bytes:,} bytes")


class _Watch:
    """The beginning of a stream, up to its first token."""

    def __init__(self) -> None:
        self.assembly = Assembly()
        self.seen: list[bytes] = []
        self._parser = EventParser()

    @property
    def is_good(self) -> bool:
        return self.assembly.is_begun and self.assembly.problem is None

    def add(self, part: bytes) -> None:
        self.seen.append(part)
        for data in self._parser.feed(part):
            self.assembly.add(data)


def _bound_pauses(response: aiohttp.ClientResponse, idle_s: float) -> None:
    """Start the clock that each part of the body restarts; the next request sets its own."""
    connection = response.connection
    if connection is not None and connection.protocol is not None:
        connection.protocol.read_timeout = idle_s
        connection.protocol.start_timeout()
