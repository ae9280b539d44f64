"""Asks by aiohttp's client whatever is https or goes through a proxy.

TLS, sites' certificates, proxies with logins and compression are left to a well-kept library. Its cost
(225 µs of processor time per request, plain.py's 140) is nothing beside a model that is far away.
"""

import asyncio
import io

import aiohttp
from aiohttp.connector import NEEDS_CLEANUP_CLOSED

from evaldock_entrypoints.adapter.upstream.addresses import Address
from evaldock_entrypoints.adapter.upstream.exchanger import (
    Bounds,
    EndedError,
    IdleError,
    NoHttpError,
    ProxyRefusedError,
    Response,
    TlsError,
    TooLongError,
    UnreachedError,
    is_stream,
    no_connection,
)
from evaldock_entrypoints.adapter.upstream.headers import SentHeaders, given
from evaldock_entrypoints.adapter.upstream.reading import Reading
from evaldock_entrypoints.adapter.upstream.reply import Asking

_KEEP_ALIVE_S = 15.0
_LONGEST_FIELD = 1 << 18
_READ_BUFFER = 1 << 18
_WARNED_BYTES = 1 << 20  # aiohttp sends longer bytes objects with a warning
_NOT_ADDED = ("user-agent", "accept", "content-type")


class LibraryExchanger:
    """One aiohttp session for all addresses, opened with the first request."""

    def __init__(self, sent: SentHeaders, *, connect_timeout_s: float) -> None:
        self._sent, self._connect_timeout_s = sent, connect_timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def exchange(self, address: Address, asking: Asking, bounds: Bounds, reading: Reading) -> Response:
        """Ask, as Exchanger says."""
        try:
            response = await self._head(address, asking, bounds)
            try:
                return await _taken(response, bounds, reading)
            finally:
                response.close()  # of no effect on one that was read to its end
        except (aiohttp.ClientError, OSError) as error:  # asyncio's TimeoutError is an OSError
            if reading.sink_failed:
                raise
            raise _meaning(error, is_begun=reading.is_begun) from error

    async def close(self) -> None:
        """Hang up."""
        if self._session is not None:
            await self._session.close()

    async def _head(self, address: Address, asking: Asking, bounds: Bounds) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = _opened()
        left_s = bounds.deadline - asyncio.get_running_loop().time()
        return await self._session.request(
            asking.method,
            address.url(asking.path, is_beside=asking.is_beside),
            data=_payload(asking),
            headers={
                **self._sent.passed_on(asking.headers),
                **self._sent.fixed,
                **address.proxy_login_beside,
            },
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=left_s, connect=self._connect_timeout_s),
            proxy=address.proxy,
            proxy_headers=address.proxy_login_before,
            ssl=address.tls or True,
        )


class _Body:
    """A body part by part, bounded in length and pauses."""

    def __init__(self, response: aiohttp.ClientResponse, bounds: Bounds) -> None:
        self._response, self._bounds = response, bounds
        self._size_bytes = 0
        self._bound(response.content_length or 0)

    async def part(self) -> bytes:
        idle_s = self._bounds.idle_s if self._size_bytes else None  # until then the endpoint may be thinking
        try:
            async with asyncio.timeout(idle_s) as pause:
                part = await self._response.content.readany()
        except TimeoutError as error:
            if pause.expired():
                raise IdleError from error
            raise
        self._size_bytes += len(part)
        self._bound(self._size_bytes)
        return part

    async def whole(self) -> bytes:
        parts = []
        while part := await self.part():
            parts.append(part)
        return b"".join(parts)

    def _bound(self, size_bytes: int) -> None:
        if size_bytes > self._bounds.max_body_bytes:
            raise TooLongError(self._bounds.max_body_bytes)


async def _taken(response: aiohttp.ClientResponse, bounds: Bounds, reading: Reading) -> Response:
    if response.status < 200:
        raise NoHttpError  # another protocol from here on, which nobody asked for
    reading.is_begun = True
    raw = response.raw_headers
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}
    body = _Body(response, bounds)
    if is_stream(response.status, headers):
        whole = await reading.stream(response.status, given(headers), body.part)
    else:
        whole = await body.whole()
    return Response(status=response.status, headers=headers, body=whole)


def _opened() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=0,  # bounded by who may ask at a time (gate.py), where waiting is fair
        ttl_dns_cache=60,
        keepalive_timeout=_KEEP_ALIVE_S,
        # Else a server that hangs is given half a minute to end TLS: github.com/python/cpython/pull/118960
        enable_cleanup_closed=NEEDS_CLEANUP_CLOSED,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_NOT_ADDED,
        read_bufsize=_READ_BUFFER,
        max_line_size=_LONGEST_FIELD,
        max_field_size=_LONGEST_FIELD,
    )


def _payload(asking: Asking) -> bytes | io.BytesIO | None:
    if not asking.body and asking.method in ("GET", "HEAD"):
        return None
    return asking.body if len(asking.body) < _WARNED_BYTES else io.BytesIO(asking.body)


def _meaning(error: Exception, *, is_begun: bool) -> Exception:
    """Return an error as one of ours. aiohttp's own words may hold URLs, and are left out."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return UnreachedError("within the time allowed for it")
        case TimeoutError():
            return TimeoutError()
    return EndedError() if is_begun else _meaning_before_the_head(error)


def _meaning_before_the_head(error: Exception) -> Exception:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return TlsError(str(error.certificate_error))
        case aiohttp.ClientConnectorSSLError():
            return TlsError(str(error.os_error))
        case aiohttp.ClientConnectorError():
            return no_connection(error.os_error)
        case aiohttp.ClientHttpProxyError():
            return ProxyRefusedError(str(error.status))
        case aiohttp.ClientResponseError():
            return NoHttpError()
    return EndedError()
