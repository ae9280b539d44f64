"""Lets requests out in the order they came, as many at a time as the limit says."""

import asyncio
import contextlib
from collections import deque

from evaldock_entrypoints.adapter.upstream.limits import Limit


class Gate:
    """Places for requests under way. Whoever entered must leave."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many requests wait for a place."""
        return len(self._waiting)

    def try_enter(self) -> bool:
        """Take a place if one is free and nobody waits for it."""
        if self._waiting or self.in_flight >= self.limit.value:
            return False
        self.in_flight += 1
        return True

    async def enter(self, *, is_first: bool) -> None:
        """Wait for a place; a request that was out already (not is_first) goes before those that were not."""
        if self.try_enter():
            return
        place = asyncio.get_running_loop().create_future()
        (self._waiting.append if is_first else self._waiting.appendleft)(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave()  # it was given just before
            else:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(place)
            raise

    def leave(self) -> None:
        """Give a place back, and let those in whom the limit allows."""
        self.in_flight -= 1
        while self._waiting and self.in_flight < self.limit.value:
            place = self._waiting.popleft()
            if not place.done():
                self.in_flight += 1
                place.set_result(None)
