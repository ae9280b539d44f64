"""One attempt to get an answer over HTTP, by the exchanger that the address is for."""

import asyncio
import time
from dataclasses import replace
from typing import Self

from evaldock_entrypoints.adapter.redaction import Redaction
from evaldock_entrypoints.adapter.upstream import judging
from evaldock_entrypoints.adapter.upstream.addresses import Address, Way
from evaldock_entrypoints.adapter.upstream.breaking import failure_of
from evaldock_entrypoints.adapter.upstream.exchanger import Bounds, BrokenError, Exchanger
from evaldock_entrypoints.adapter.upstream.failure import Failure
from evaldock_entrypoints.adapter.upstream.headers import SentHeaders, given
from evaldock_entrypoints.adapter.upstream.journey import Journey
from evaldock_entrypoints.adapter.upstream.library import LibraryExchanger
from evaldock_entrypoints.adapter.upstream.plain import PlainExchanger
from evaldock_entrypoints.adapter.upstream.reading import Reading
from evaldock_entrypoints.adapter.upstream.refusing import refused
from evaldock_entrypoints.adapter.upstream.reply import Reply


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
        self._idle_timeout_s, self._max_body_bytes = idle_timeout_s, max_body_bytes
        sent = SentHeaders(api_key)
        self._exchangers: dict[Way, Exchanger] = {
            "plain": PlainExchanger(sent, connect_timeout_s=connect_timeout_s),
            "library": LibraryExchanger(sent, connect_timeout_s=connect_timeout_s),
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for exchanger in self._exchangers.values():
            await exchanger.close()

    async def attempt(self, address: Address, journey: Journey, timeout_s: float) -> Reply | Failure:
        """Ask once. Raises only what the sink raises."""
        began = time.perf_counter()
        reading = Reading(sink=journey.sink, redact=self._redact)
        try:
            response = await self._exchangers[address.way].exchange(
                address, journey.asking, self._bounds(timeout_s), reading
            )
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
            headers=self._redact.headers(given(headers)),
            body=body,
            tree=found,
            is_stream=is_stream,
            started_at=journey.started_at,
            latency_ms=latency_ms,
            ttft_ms=None if reading.first_at is None else (reading.first_at - began) * 1000,
            attempts=journey.attempts,
            sunk=reading.sunk,
        )

    def _bounds(self, timeout_s: float) -> Bounds:
        return Bounds(
            deadline=asyncio.get_running_loop().time() + timeout_s,
            idle_s=self._idle_timeout_s,
            max_body_bytes=self._max_body_bytes,
        )


def _blamed(failure: Failure, reading: Reading) -> Failure:
    """Return a failure as what it is for a harness that has part of the answer already."""
    return replace(failure, kind="cut", sunk=True) if reading.sunk else failure
