"""An endpoint as all tasks of a run ask it: pooled, bounded in time, retried, within its limits."""

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Self

from evaldock_entrypoints.adapter.redaction import Redaction
from evaldock_entrypoints.adapter.upstream.addresses import Address
from evaldock_entrypoints.adapter.upstream.descriptors import connection_room
from evaldock_entrypoints.adapter.upstream.failure import TOO_MANY, Failure, reply_of
from evaldock_entrypoints.adapter.upstream.gate import Gate
from evaldock_entrypoints.adapter.upstream.journey import Journey, Retrying
from evaldock_entrypoints.adapter.upstream.limits import AdaptiveLimit, YieldingLimit
from evaldock_entrypoints.adapter.upstream.pace import Pace
from evaldock_entrypoints.adapter.upstream.replicas import Replica, Replicas
from evaldock_entrypoints.adapter.upstream.reply import Asking, Reply, Sink
from evaldock_entrypoints.adapter.upstream.terms import Terms
from evaldock_entrypoints.adapter.upstream.transport import Transport
from evaldock_entrypoints.contract.interceptors import EndpointPolicy

MAX_BODY_BYTES = 64 * 1024**2


class Upstream:
    """One endpoint with its replicas, asked by all tasks; an async context manager.

    Waiting for a turn (max_concurrency, adaptive, per-minute limits, file descriptors) counts in no timeout,
    neither the attempt's nor the total one: a request's clock begins when it is let out.
    """

    def __init__(
        self,
        base_urls: Sequence[str],
        *,
        policy: EndpointPolicy,
        api_key: str | None,
        redact: Redaction,
        max_body_bytes: int = MAX_BODY_BYTES,
        room: int | None = None,
    ) -> None:
        """base_urls: each up to and with /v1. room: most connections; None: what file descriptors allow."""
        self._replicas = Replicas([Address(url) for url in dict.fromkeys([*base_urls, *policy.replicas])])
        ceilings = (policy.max_concurrency, policy.connections, room or connection_room())
        ceiling = min(bound for bound in ceilings if bound is not None)
        self._gate = Gate(AdaptiveLimit(ceiling) if policy.adaptive else YieldingLimit(ceiling))
        self._pace = Pace(policy.requests_per_minute, policy.tokens_per_minute)
        self._retrying = Retrying(
            budget_per_request=policy.retry_budget, readiness_timeout_s=policy.readiness_timeout_s
        )
        self._transport = Transport(
            api_key=api_key,
            redact=redact,
            connect_timeout_s=policy.connect_timeout_s,
            idle_timeout_s=policy.idle_timeout_s,
            max_body_bytes=max_body_bytes,
        )
        self._is_present = asyncio.Event()
        self._is_present.set()

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *details: object) -> None:
        await self._transport.__aexit__(*details)

    @property
    def base_url(self) -> str:
        """The first address, for messages."""
        return self._replicas.base_urls[0]

    @property
    def is_waiting(self) -> bool:
        """Nobody answers at present; requests wait for the endpoint to come up."""
        return not self._is_present.is_set()

    @property
    def in_flight(self) -> int:
        """Requests that the endpoint is at work on."""
        return self._gate.in_flight

    @property
    def queued(self) -> int:
        """Requests that wait for a turn."""
        return self._gate.waiting

    @property
    def limit(self) -> int:
        """How many requests may be under way at present."""
        return math.floor(self._gate.limit.value)

    @property
    def requests(self) -> int:
        """Requests so far, each counted once."""
        return self._retrying.requests

    @property
    def retries(self) -> int:
        """Retries so far, but for those of connections that nobody took."""
        return self._retrying.retries

    async def ask(self, asking: Asking, terms: Terms, sink: Sink | None = None) -> Reply:
        """Return the answer, or the failure left after all attempts; raises only what the sink raises."""
        known = self._retrying.hopeless.reply_to(asking.digest)
        if known is not None:
            return replace(known, started_at=time.time())
        self._retrying.requests += 1
        journey = Journey(
            asking=asking,
            terms=terms,
            sink=sink,
            began=time.monotonic(),
            started_at=time.time(),
            estimate=self._pace.estimate(asking),
        )
        while True:
            found = await self._attempt(journey)
            if isinstance(found, Reply):
                return found
            has_other = self._replicas.has_other(journey.tried)
            pause_s = self._retrying.pause_s(found, journey, has_other=has_other)
            if isinstance(pause_s, Failure):
                return self._given_up(pause_s, journey)
            await self._pause(pause_s, journey, is_absent=found.is_unreached)

    async def _attempt(self, journey: Journey) -> Reply | Failure:
        if not (self._pace.is_free and self._gate.try_enter()):
            await self._turn(journey)
        replica = self._replicas.pick(journey.tried)
        replica.begin()
        timeout_s = journey.timeout_s
        journey.attempts += 1
        journey.sent_at = time.monotonic()
        try:
            found = await self._transport.attempt(replica.address, journey, timeout_s)
        except BaseException:  # given up by who asked
            replica.cancelled()
            self._gate.leave()
            raise
        self._note(found, replica, journey)
        self._gate.leave()
        return found

    async def _turn(self, journey: Journey) -> None:
        """Wait until the limits let a request out."""
        asked_at = time.monotonic()
        wait_s = self._pace.wait_s(journey.estimate)
        try:
            if wait_s:
                await asyncio.sleep(wait_s)
            await self._gate.enter(is_first=not journey.attempts)
        except asyncio.CancelledError:
            self._pace.give_back(journey.estimate)
            raise
        journey.began += time.monotonic() - asked_at

    def _note(self, found: Reply | Failure, replica: Replica, journey: Journey) -> None:
        """Let limits, replicas and memory learn from the end of an attempt."""
        limit, now = self._gate.limit, time.monotonic()
        if isinstance(found, Reply):
            replica.end(None)
            limit.answered(sent_at=journey.sent_at, now=now, in_flight=self._gate.in_flight)
            self._retrying.hopeless.forget(journey.asking.digest)
            self._pace.used(found.tree, journey.estimate)
            self._is_present.set()
            return
        replica.end(found if found.blames_replica else None)
        if found.blames_replica:
            journey.tried.add(replica)
        if found.status == TOO_MANY or found.is_local:
            limit.refused(sent_at=journey.sent_at, now=now, in_flight=self._gate.in_flight)
        if found.is_answer:
            self._is_present.set()
        elif found.is_unreached and not self._replicas.has_other(()):
            self._is_present.clear()

    async def _pause(self, pause_s: float, journey: Journey, *, is_absent: bool) -> None:
        if not pause_s:
            return
        journey.tried.clear()
        if not is_absent:
            await asyncio.sleep(pause_s)
            return
        with suppress(TimeoutError):  # the first one that is answered wakes the others
            await asyncio.wait_for(self._is_present.wait(), pause_s)

    def _given_up(self, failure: Failure, journey: Journey) -> Reply:
        reply = reply_of(
            failure,
            started_at=journey.started_at,
            latency_ms=(time.monotonic() - journey.sent_at) * 1000,
            attempts=journey.attempts,
        )
        if self._retrying.hopeless.is_over(journey.asking.digest):
            self._retrying.hopeless.stands(journey.asking.digest, reply)
        return reply
