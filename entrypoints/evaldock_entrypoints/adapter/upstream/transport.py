"""One attempt to get an answer over HTTP."""

import io
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Self

import aiohttp

from evaldock_entrypoints.adapter.redaction import Redaction
from evaldock_entrypoints.adapter.upstream import judging
from evaldock_entrypoints.adapter.upstream.addresses import Address
from evaldock_entrypoints.adapter.upstream.breaking import failure_of
from evaldock_entrypoints.adapter.upstream.failure import Failure
from evaldock_entrypoints.adapter.upstream.journey import Journey
from evaldock_entrypoints.adapter.upstream.reading import Reading, TooLongError
from evaldock_entrypoints.adapter.upstream.refusing import refused
from evaldock_entrypoints.adapter.upstream.reply import Asking, Reply

HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    }
)
_NOT_SENT = HOP_BY_HOP | {"host", "content-length", "accept-encoding", "expect"}
_NOT_GIVEN = HOP_BY_HOP | {"content-length", "content-encoding", "set-cookie", "date", "server", "alt-svc"}
_KEEP_ALIVE_S = 15.0
_LONGEST_FIELD = 65536
_READ_BUFFER = 1 << 18
_WARNED_BYTES = 1 << 20  # aiohttp sends longer bytes objects with a warning
_TIMEOUTS_KEPT = 64
_Taken = tuple[aiohttp.ClientResponse, dict[str, str], bytes]


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
        self._fixed = {"accept-encoding": "identity"}
        if api_key is not None:
            self._fixed["authorization"] = f"Bearer {api_key}"
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}

    async def __aenter__(self) -> Self:
        # How many connections there are is bounded by who may ask at a time (gate.py), where waiting is fair.
        connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=_KEEP_ALIVE_S)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("user-agent",),
            read_bufsize=_READ_BUFFER,
            max_line_size=_LONGEST_FIELD,
            max_field_size=_LONGEST_FIELD,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def attempt(self, address: Address, journey: Journey, timeout_s: float) -> Reply | Failure:
        """Ask once. Raises only what the sink raises."""
        began = time.perf_counter()
        reading = Reading(sink=journey.sink, redact=self._redact, max_body_bytes=self._max_body_bytes)
        try:
            response, headers, body = await self._taken(address, journey.asking, timeout_s, reading)
        except TooLongError as error:
            return _blamed(judging.invalid(str(error), is_retriable=False), reading)
        except (aiohttp.ClientError, OSError) as error:  # asyncio's TimeoutError is an OSError
            if reading.sink_failed:
                raise
            return _blamed(failure_of(error, is_begun=reading.is_begun, timeout_s=timeout_s), reading)
        latency_ms = (time.perf_counter() - began) * 1000
        if not 200 <= response.status < 300:
            return refused(response.status, response.headers, body, self._redact)
        body = self._redact.answer_body(body)
        found, is_stream = judging.judged(body, headers.get("content-type", ""), journey.asking.expects)
        if isinstance(found, Failure):
            return _blamed(replace(found, message=self._redact.text(found.message)), reading)
        if found is not None and not is_stream:
            headers["content-type"] = "application/json"  # whatever it came as: clients look at it first
        return Reply(
            status=response.status,
            headers=headers,
            body=body,
            tree=found,
            is_stream=is_stream,
            started_at=journey.started_at,
            latency_ms=latency_ms,
            ttft_ms=None if reading.first_at is None else (reading.first_at - began) * 1000,
            attempts=journey.attempts,
            sunk=reading.sunk,
        )

    async def _taken(self, address: Address, asking: Asking, timeout_s: float, reading: Reading) -> _Taken:
        response = await self._session.request(
            asking.method,
            address.url(asking.path, is_beside=asking.is_beside),
            data=_payload(asking),
            headers=self._headers(asking.headers, address),
            allow_redirects=False,
            timeout=self._timeout(timeout_s),
            proxy=address.proxy,
            proxy_headers=address.proxy_headers,
            ssl=address.tls,
        )
        try:
            headers = _given(response.headers)
            return response, headers, await reading.body(response, headers, self._idle_timeout_s)
        finally:
            response.close()  # of no effect on one that was read to its end

    def _headers(self, asked: Mapping[str, str], address: Address) -> dict[str, str]:
        if not _NOT_SENT.isdisjoint(asked):
            asked = {name: value for name, value in asked.items() if name not in _NOT_SENT}
        return {**asked, **self._fixed, **address.headers}

    def _timeout(self, timeout_s: float) -> aiohttp.ClientTimeout:
        known = self._timeouts.get(timeout_s)
        if known is None:
            known = aiohttp.ClientTimeout(total=timeout_s, connect=self._connect_timeout_s)
            if len(self._timeouts) < _TIMEOUTS_KEPT:
                self._timeouts[timeout_s] = known
        return known


def _payload(asking: Asking) -> bytes | io.BytesIO | None:
    if not asking.body and asking.method in ("GET", "HEAD"):
        return None
    return asking.body if len(asking.body) < _WARNED_BYTES else io.BytesIO(asking.body)


def _given(headers: Mapping[str, str]) -> dict[str, str]:
    return {low: value for name, value in headers.items() if (low := name.lower()) not in _NOT_GIVEN}


def _blamed(failure: Failure, reading: Reading) -> Failure:
    """Return a failure as what it is for a harness that has part of the answer already."""
    return replace(failure, kind="cut", sunk=True) if reading.sunk else failure
