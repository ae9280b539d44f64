"""Watches an answer come in: a stream goes on part by part once it is good."""

import time
from collections.abc import Awaitable, Callable, Mapping

from evaldock_entrypoints.adapter.parts import Assembly
from evaldock_entrypoints.adapter.redaction import Redaction, StreamRedaction
from evaldock_entrypoints.adapter.sse import EventParser
from evaldock_entrypoints.adapter.upstream.reply import Sink


class Reading:
    """One answer on its way in. first_at: when the first token came, on the clock of perf_counter."""

    def __init__(self, *, sink: Sink | None, redact: Redaction) -> None:
        self.is_begun = False  # the head has come
        self.first_at: float | None = None
        self.sunk = False
        self.sink_failed = False
        self._sink, self._redact = sink, redact
        self._passing: StreamRedaction | None = None  # parts go on

    async def stream(
        self, status: int, headers: Mapping[str, str], next_part: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        """Return a whole stream of events; raises as next_part does, and what the sink raises."""
        watch = _Watch()
        parts: list[bytes] = []
        while part := await next_part():
            parts.append(part)
            await self._see(watch, part, status, headers)
        if self._passing is not None:
            await self._pass(self._passing.close(), status, headers)
        return b"".join(parts)

    async def _see(self, watch: "_Watch", part: bytes, status: int, headers: Mapping[str, str]) -> None:
        if self.first_at is None:
            watch.add(part)
            self.first_at = time.perf_counter() if watch.assembly.carries_content else None
        if self._sink is None:
            return
        if self._passing is not None:
            await self._pass(self._passing.feed(part), status, headers)
        elif watch.is_good:  # what begins with an error is asked again instead
            self._passing = self._redact.of_stream()
            await self._pass(self._passing.feed(b"".join(watch.seen)), status, headers)

    async def _pass(self, part: bytes, status: int, headers: Mapping[str, str]) -> None:
        if self._sink is None or not part:
            return
        self.sunk = True
        try:
            await self._sink(status, self._redact.headers(headers), part)
        except BaseException:
            self.sink_failed = True
            raise


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
