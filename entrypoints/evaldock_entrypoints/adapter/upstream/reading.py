"""Reads an answer's body: bounded, with an eye on the clock, and streams part by part."""

import time
from collections.abc import Mapping

from evaldock_entrypoints.adapter.parts import Assembly
from evaldock_entrypoints.adapter.redaction import Redaction
from evaldock_entrypoints.adapter.sse import EventParser
from evaldock_entrypoints.adapter.upstream.compression import Inflating
from evaldock_entrypoints.adapter.upstream.connection import Connection
from evaldock_entrypoints.adapter.upstream.reply import Sink

_HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    }
)
NOT_SENT = _HOP_BY_HOP | {"host", "content-length", "accept-encoding", "expect"}
_NOT_GIVEN = _HOP_BY_HOP | {"content-length", "content-encoding", "set-cookie", "date", "server", "alt-svc"}


def given(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of an answer's headers that are for the harness."""
    return {name: value for name, value in headers.items() if name not in _NOT_GIVEN}


class Reading:
    """One body on its way in. first_at: when the first token came, on the clock of perf_counter."""

    def __init__(self, *, sink: Sink | None, redact: Redaction, max_body_bytes: int) -> None:
        self.is_begun = False  # the head has come
        self.first_at: float | None = None
        self.sunk = False
        self.sink_failed = False
        self._sink, self._redact, self._max_body_bytes = sink, redact, max_body_bytes

    async def body(self, connection: Connection) -> bytes:
        """Return the whole body; raises as connections do, and what the sink raises."""
        encoding = connection.headers.get("content-encoding", "identity").lower()
        inflating = None if encoding in ("", "identity") else Inflating(encoding, self._max_body_bytes)
        if not connection.is_stream:
            return connection.taken() if inflating is None else inflating.whole(connection.taken())
        watch, headers = _Watch(), given(connection.headers)
        parts: list[bytes] = []
        while part := await connection.part():
            plain = part if inflating is None else inflating.part(part)
            if plain:
                parts.append(plain)
                await self._see(watch, plain, connection.status, headers)
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
