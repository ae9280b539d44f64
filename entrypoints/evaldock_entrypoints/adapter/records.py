"""What one model's requests leave: exchanges and failures in the store, and the counts of them."""

import time
from dataclasses import dataclass, field

from evaldock_entrypoints.adapter.lane import Lane
from evaldock_entrypoints.adapter.upstream.reply import Reply
from evaldock_entrypoints.exchanges.facts import Facts
from evaldock_entrypoints.exchanges.key import digest_of
from evaldock_entrypoints.exchanges.record import Exchange

_NO_REPLY = Reply(status=500, headers={}, body=b"")


@dataclass(kw_only=True)
class Records:
    """Of one model, for one task. identity: of the model.

    failed_lookups: what has one answer for good and did not get it yet, by digest.
    """

    lane: Lane
    role: str | None
    identity: str
    failed_lookups: set[bytes] = field(default_factory=set)

    def below(self, route: str) -> str:
        """Return a route as keys name it; a store, which tells no models apart, holds several roles."""
        return route if self.role is None else f"/aux/{self.role}/{self.identity}{route}"

    def exchange(
        self,
        route: str,
        request: bytes,
        digest: bytes,
        facts: Facts,
        *,
        ordinal: int = 0,
        reply: Reply = _NO_REPLY,
    ) -> Exchange:
        """Return a request with its reply as the store takes it."""
        return Exchange(
            digest=digest,
            ordinal=ordinal,
            role=self.role,
            route=route,
            status=reply.status,
            content_type=reply.headers.get("content-type", ""),
            request=request,
            response=reply.body,
            is_stream=reply.is_stream,
            facts=facts,
        )

    def fail(self, exchange: Exchange, *, arrived: int) -> None:
        """Count and keep a request that failed for good; raises ExecutionError."""
        self.lane.counts.failed += 1
        self.lane.store.fail(exchange, arrived=arrived)

    def fail_here(
        self, route: str, raw: bytes, digest: bytes, kind: str, message: str, *, arrived: int
    ) -> None:
        """Keep a request that failed here and not at the endpoint; raises ExecutionError."""
        facts = Facts(
            started_at=time.time(), latency_ms=0.0, is_generation=False, error=kind, message=message
        )
        self.fail(self.exchange(route, raw, digest, facts), arrived=arrived)

    def refuse(self, route: str, message: str) -> None:
        """Keep a request that was not even read: the harness got no answer to it."""
        self.lane.counts.requests += 1
        digest = digest_of(self.below(route), b"")
        self.fail_here(route, b"", digest, "chain", message, arrived=self.lane.store.arrived())
