"""Asks over plain http without a proxy, which is the usual local server: the hot path.

With connections of our own (connection.py) a request costs 140 µs of processor time, with aiohttp's
client 225. They know HTTP/1.1 and nothing else: TLS, proxies and compression are library.py's.
"""

import asyncio

from evaldock_entrypoints.adapter.upstream.addresses import Address
from evaldock_entrypoints.adapter.upstream.connection import Connection
from evaldock_entrypoints.adapter.upstream.exchanger import Bounds, Response, UnfitError
from evaldock_entrypoints.adapter.upstream.headers import SentHeaders, given
from evaldock_entrypoints.adapter.upstream.pool import Pool
from evaldock_entrypoints.adapter.upstream.reading import Reading
from evaldock_entrypoints.adapter.upstream.reply import Asking


class PlainExchanger:
    """Our own connections, a pool for each address."""

    def __init__(self, sent: SentHeaders, *, connect_timeout_s: float) -> None:
        self._sent, self._connect_timeout_s = sent, connect_timeout_s
        self._fixed = "".join(f"{name}: {value}\r\n" for name, value in sent.fixed.items())
        self._pools: dict[Address, Pool] = {}

    async def exchange(self, address: Address, asking: Asking, bounds: Bounds, reading: Reading) -> Response:
        """Ask, as Exchanger says."""
        pool, request = self._pool(address), self._request(address, asking)
        connection = await pool.take(bounds)
        try:
            await connection.ask(request, bounds, wants_no_body=asking.method == "HEAD")
            body = await _body(connection, reading)
            return Response(status=connection.status, headers=connection.headers, body=body)
        finally:
            reading.is_begun = connection.is_begun
            pool.give_back(connection)

    async def close(self) -> None:
        """Hang up."""
        for pool in self._pools.values():
            pool.close()

    def _pool(self, address: Address) -> Pool:
        pool = self._pools.get(address)
        if pool is None:
            pool = Pool(address, asyncio.get_running_loop(), connect_timeout_s=self._connect_timeout_s)
            self._pools[address] = pool
        return pool

    def _request(self, address: Address, asking: Asking) -> bytes:
        """Return a request's bytes; raises ValueError for a header that would be two."""
        headers = self._sent.passed_on(asking.headers)
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        if asking.body or asking.method not in ("GET", "HEAD"):
            lines.append(f"content-length: {len(asking.body)}\r\n")
        text = "".join(lines)
        if text.count("\n") != len(lines) or text.count("\r") != len(lines):
            raise ValueError("a line break in a header")
        opening = address.opening(asking.method, asking.path, is_beside=asking.is_beside)
        return f"{opening}{self._fixed}{text}\r\n".encode("latin-1") + asking.body


async def _body(connection: Connection, reading: Reading) -> bytes:
    encoding = connection.headers.get("content-encoding", "identity").lower()
    if encoding not in ("", "identity"):
        return _compressed(connection, encoding)
    if connection.is_stream:
        return await reading.stream(connection.status, given(connection.headers), connection.part)
    return connection.taken()


def _compressed(connection: Connection, encoding: str) -> bytes:
    """Return nothing for what needs no body to be told; raises UnfitError for an answer."""
    if 200 <= connection.status < 300 and (connection.is_stream or connection.taken()):
        raise UnfitError(
            f"the answer is compressed ({encoding}) though the request says accept-encoding: identity;"
            " let the server send it plain"
        )
    return b""
