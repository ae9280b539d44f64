"""The plain connections to one address: opened when needed, kept between requests."""

import asyncio
from collections import deque

from evaldock_entrypoints.adapter.upstream.addresses import Address
from evaldock_entrypoints.adapter.upstream.connection import Connection
from evaldock_entrypoints.adapter.upstream.exchanger import Bounds, UnreachedError, no_connection

_KEEP_S = 15.0


class Pool:
    """Connections of one address; whoever takes one gives it back."""

    def __init__(
        self, address: Address, loop: asyncio.AbstractEventLoop, *, connect_timeout_s: float
    ) -> None:
        self._address, self._loop = address, loop
        self._connect_timeout_s = connect_timeout_s
        self._idle: deque[Connection] = deque()

    async def take(self, bounds: Bounds) -> Connection:
        """Return a connection that nobody else uses; raises TimeoutError and as `no_connection` says."""
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
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self._loop), self._address.host, self._address.port
                )
        except TimeoutError as error:
            if left_s <= self._connect_timeout_s:
                raise
            raise UnreachedError("within the time allowed for it") from error
        except OSError as error:
            raise no_connection(error) from error
        return connection
