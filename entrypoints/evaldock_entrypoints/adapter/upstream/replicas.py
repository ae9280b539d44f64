"""Which of several addresses of one model a request goes to."""

import time
from collections.abc import Container, Sequence

from evaldock_entrypoints.adapter.upstream.addresses import Address
from evaldock_entrypoints.adapter.upstream.failure import Failure

_TOLERATED = 3  # failures in a row
_FIRST_REST_S = 1.0
_LONGEST_REST_S = 30.0


class Replica:
    """One address and how it does. At rest, it is asked nothing until its time comes, then one request."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.in_flight = 0
        self._failures = 0
        self._rest_s = 0.0
        self._until = 0.0
        self._is_tried = False

    @property
    def is_resting(self) -> bool:
        return self._rest_s > 0

    def is_open(self, now: float) -> bool:
        """Tell whether it may be asked now."""
        return not self._rest_s or (now >= self._until and not self._is_tried)

    def begin(self) -> None:
        """A request goes there."""
        self.in_flight += 1
        self._is_tried = self.is_resting

    def end(self, failure: Failure | None) -> None:
        """A request came back; None: with an answer, or a failure that is not the replica's."""
        self.in_flight -= 1
        self._is_tried = False
        if failure is None:
            self._failures, self._rest_s = 0, 0.0
        elif failure.blames_replica:
            self._failures += 1
            if failure.is_unreached or self.is_resting or self._failures >= _TOLERATED:
                self._rest()

    def cancelled(self) -> None:
        """A request there was given up by who asked it."""
        self.in_flight -= 1
        self._is_tried = False

    def _rest(self) -> None:
        now = time.monotonic()
        if now < self._until:
            return  # a request sent before it was set aside: known already
        self._rest_s = min(max(2 * self._rest_s, _FIRST_REST_S), _LONGEST_REST_S)
        self._until = now + self._rest_s


class Replicas:
    """All addresses of one model: the one with the fewest requests under way is next, equals take turns."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._all = [Replica(address) for address in addresses]
        self._turn = 0

    @property
    def base_urls(self) -> list[str]:
        return [replica.address.base_url for replica in self._all]

    def pick(self, tried: Container[Replica] = ()) -> Replica:
        """Return the one to ask next, rather one that was not tried for this request."""
        if len(self._all) == 1:
            return self._all[0]
        now = time.monotonic()
        candidates = [replica for replica in self._all if replica.is_open(now)] or self._all
        candidates = [replica for replica in candidates if replica not in tried] or candidates
        fewest = min(replica.in_flight for replica in candidates)
        equals = [replica for replica in candidates if replica.in_flight == fewest]
        self._turn += 1
        return equals[self._turn % len(equals)]

    def has_other(self, tried: Container[Replica]) -> bool:
        """Tell whether one that was not tried for this request is up."""
        return any(not replica.is_resting and replica not in tried for replica in self._all)
