"""The connections to one address: opened when needed, kept between requests."""

import asyncio
import errno
import os
import ssl
from collections import deque

from evaldock_entrypoints.adapter.upstream.addresses import Address
from evaldock_entrypoints.adapter.upstream.connection import Bounds, BrokenError, Connection

_KEEP_S = 15.0
_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})


class UnreachedError(BrokenError):
    """There is no connection to be had; the message says why."""


class TlsError(BrokenError):
    """No agreement on encryption, or on who the other one is."""


class NoDescriptorError(BrokenError):
    """This machine lets us open no further connection."""


class ProxyRefusedError(BrokenError):
    """The site's proxy does not open a way; the message is its status."""


class Pool:
    """Connections of one address; whoever takes one gives it back."""

    def __init__(self, address: Address, *, connect_timeout_s: float) -> None:
        self._address = address
        self._connect_timeout_s = connect_timeout_s
        self._loop = asyncio.get_running_loop()
        self._idle: deque[Connection] = deque()

    async def take(self, bounds: Bounds) -> Connection:
        """Return a connection that nobody else uses; raises TimeoutError and the errors above."""
        while self._idle:
            connection = self._idle.pop()  # the last one used is the least likely to have been closed
            if not connection.has_ended:
                return connection
        return await self._opened(bounds)

    def give_back(self, connection: Connection) -> None:
        """Keep a connection that may serve again; close those that nobody needed for a while."""
        if connection.rest():
            self._idle.append(connection)
        elif not connection.has_ended:
            connection.close()
        while self._idle and self._idle[0].idle_since < self._loop.time() - _KEEP_S:
            self._idle.popleft().close()

    def close(self) -> None:
        """Close what nobody uses."""
        while self._idle:
            self._idle.popleft().close()

    async def _opened(self, bounds: Bounds) -> Connection:
        left_s = bounds.deadline - self._loop.time()
        try:
            async with asyncio.timeout(min(left_s, self._connect_timeout_s)):
                return await self._connected(bounds)
        except TimeoutError as error:
            if left_s <= self._connect_timeout_s:
                raise
            raise UnreachedError("within the time allowed for it") from error
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise TlsError(str(error)) from error
        except OSError as error:
            if error.errno in _NO_DESCRIPTOR:
                raise NoDescriptorError from error
            raise UnreachedError(_words(error)) from error

    async def _connected(self, bounds: Bounds) -> Connection:
        way = self._address.way
        _, connection = await self._loop.create_connection(
            lambda: Connection(self._loop), way.host, way.port, ssl=way.tls
        )
        if way.tunnel is not None:
            try:
                await _through(connection, way.tunnel.request, bounds)
                await connection.start_tls(way.tunnel.tls, way.tunnel.host)
            except BaseException:
                connection.close()
                raise
        return connection


async def _through(connection: Connection, request: bytes, bounds: Bounds) -> None:
    """Have a proxy open a way to the endpoint."""
    await connection.ask(request, bounds, wants_no_body=True)
    connection.rest()
    if connection.status != 200:
        raise ProxyRefusedError(str(connection.status))


def _words(error: OSError) -> str:
    """Return the system's words: asyncio's give no reason. Look-ups of names have numbers of their own."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else str(error.strerror or error)
