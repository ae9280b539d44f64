"""Exchanges for tests of the store, made by hand."""

from dataclasses import replace
from typing import Any

from evaldock_entrypoints.exchanges.facts import Facts
from evaldock_entrypoints.exchanges.key import digest_of
from evaldock_entrypoints.exchanges.record import Exchange

ROUTE = "/chat/completions"
FACTS = Facts(started_at=1_790_000_000.0, latency_ms=12.5, choices=1, finish_reasons=("stop",))


def digest(number: int) -> bytes:
    """Return the key of the request that `answered` makes of this number."""
    return digest_of(ROUTE, request(number))


def request(number: int) -> bytes:
    return b'{"messages":[{"role":"user","content":"What is the sum of 1 and %d?"}]}' % number


def answered(number: int, ordinal: int = 0, *, response: bytes | None = None, **facts: Any) -> Exchange:
    """Return an exchange that holds an answer."""
    return Exchange(
        digest=digest(number),
        ordinal=ordinal,
        route=ROUTE,
        status=200,
        content_type="application/json",
        request=request(number),
        response=b'{"answer":%d}' % number if response is None else response,
        facts=replace(FACTS, **facts),
    )


def failed(number: int, ordinal: int = 0, *, error: str = "status", status: int = 503) -> Exchange:
    """Return an exchange that holds a failure."""
    exchange = answered(number, ordinal, response=b'{"error":{}}')
    return replace(exchange, status=status, facts=replace(FACTS, error=error, message="busy"))
