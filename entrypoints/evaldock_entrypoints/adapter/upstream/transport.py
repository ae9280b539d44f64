"""One attempt to get an answer over HTTP."""

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Self

from evaldock_entrypoints.adapter.redaction import Redaction
from evaldock_entrypoints.adapter.upstream import judging
from evaldock_entrypoints.adapter.upstream.addresses import Address
from evaldock_entrypoints.adapter.upstream.breaking import failure_of
from evaldock_entrypoints.adapter.upstream.connection import Bounds, BrokenError, TooLongError
from evaldock_entrypoints.adapter.upstream.failure import Failure
from evaldock_entrypoints.adapter.upstream.journey import Journey
from evaldock_entrypoints.adapter.upstream.pool import Pool
from evaldock_entrypoints.adapter.upstream.reading import NOT_SENT, Reading, given
from evaldock_entrypoints.adapter.upstream.refusing import refused
from evaldock_entrypoints.adapter.upstream.reply import Asking, Reply


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """An answer as HTTP gave it, decompressed. headers: lower-case names."""

    status: int
    headers: dict[str, str]
    body: bytes


class Transport:
    """The pool of connections to an endpoint's addresses; a context manager."""

    def __init__(
        self,
        *,
        api_key: str | None,
        redact: Redaction,
        connect_timeout_s: float,
        idle_timeout_s: float,
        max_body_bytes: int,
    ) -> None:
        self._redact = redact
        self._connect_timeout_s, self._idle_timeout_s = connect_timeout_s, idle_timeout_s
        self._max_body_bytes = max_body_bytes
        self._fixed = "accept-encoding: identity\r\n"
        self._not_sent = NOT_SENT
        if api_key is not None:
            self._not_sent = NOT_SENT | {"authorization"}
            self._fixed += f"authorization: Bearer {api_key}\r\n"
        self._pools: dict[Address, Pool] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for pool in self._pools.values():
            pool.close()

    async def attempt(self, address: Address, journey: Journey, timeout_s: float) -> Reply | Failure:
        """Ask once. Raises only what the sink raises."""
        began = time.perf_counter()
        reading = Reading(sink=journey.sink, redact=self._redact, max_body_bytes=self._max_body_bytes)
        try:
            response = await self._response(address, journey.asking, timeout_s, reading)
        except TooLongError as error:
            return _blamed(judging.invalid(str(error), is_retriable=False), reading)
        except (BrokenError, TimeoutError) as error:
            if reading.sink_failed:
                raise
            return _blamed(failure_of(error, is_begun=reading.is_begun, timeout_s=timeout_s), reading)
        latency_ms = (time.perf_counter() - began) * 1000
        headers = response.headers
        if not 200 <= response.status < 300:
            return refused(response.status, headers, response.body, self._redact)
        body = self._redact.answer_body(response.body)
        found, is_stream = judging.judged(body, headers.get("content-type", ""), journey.asking.expects)
        if isinstance(found, Failure):
            return _blamed(replace(found, message=self._redact.text(found.message)), reading)
        if found is not None and not is_stream:
            headers["content-type"] = "application/json"  # whatever it came as: clients look at it first
        return Reply(
            status=response.status,
            headers=given(headers),
            body=body,
            tree=found,
            is_stream=is_stream,
            started_at=journey.started_at,
            latency_ms=latency_ms,
            ttft_ms=None if reading.first_at is None else (reading.first_at - began) * 1000,
            attempts=journey.attempts,
            sunk=reading.sunk,
        )

    async def _response(
        self, address: Address, asking: Asking, timeout_s: float, reading: Reading
    ) -> Response:
        bounds = Bounds(
            deadline=asyncio.get_running_loop().time() + timeout_s,
            idle_s=self._idle_timeout_s,
            max_body_bytes=self._max_body_bytes,
        )
        pool, request = self._pool(address), self._request(address, asking)
        connection = await pool.take(bounds)
        try:
            await connection.ask(request, bounds, wants_no_body=asking.method == "HEAD")
            return Response(
                status=connection.status, headers=connection.headers, body=await reading.body(connection)
            )
        finally:
            reading.is_begun = connection.is_begun
            pool.give_back(connection)

    def _pool(self, address: Address) -> Pool:
        pool = self._pools.get(address)
        if pool is None:
            pool = self._pools[address] = Pool(address, connect_timeout_s=self._connect_timeout_s)
        return pool

    def _request(self, address: Address, asking: Asking) -> bytes:
        """Return a request's bytes; raises ValueError for a header that would be two."""
        headers = asking.headers
        if not self._not_sent.isdisjoint(headers):
            headers = {name: value for name, value in headers.items() if name not in self._not_sent}
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        if asking.body or asking.method not in ("GET", "HEAD"):
            lines.append(f"content-length: {len(asking.body)}\r\n")
        text = "".join(lines)
        if text.count("\n") != len(lines) or text.count("\r") != len(lines):
            raise ValueError("a line break in a header")
        opening = address.opening(asking.method, asking.path, is_beside=asking.is_beside)
        return f"{opening}{self._fixed}{text}\r\n".encode("latin-1") + asking.body


def _blamed(failure: Failure, reading: Reading) -> Failure:
    """Return a failure as what it is for a harness that has part of the answer already."""
    return replace(failure, kind="cut", sunk=True) if reading.sunk else failure
