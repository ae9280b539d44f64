"""Which of several identical requests is which: ordinals of delivered answers."""

from collections.abc import Container
from typing import Protocol

from evaldock_entrypoints.exchanges.fingerprint import fingerprint


class Holder(Protocol):
    """Whoever waits for an answer."""

    def is_gone(self) -> bool:
        """Tell whether nobody waits any more: the client hung up."""
        ...


class Ordinals:
    """Hands out the ordinals of identical requests, each to one holder at a time.

    An ordinal is spent when its answer was delivered. One whose holder is gone goes to the next who asks:
    a harness that timed out and asks again gets the same ordinal, and nothing shifts.
    """

    def __init__(self) -> None:
        self._below: dict[int, int] = {}  # by digest: all smaller ordinals are delivered
        self._beyond: dict[int, set[int]] = {}  # delivered ones above a gap
        self._held: dict[int, dict[int, Holder]] = {}

    def claim(self, digest: bytes, holder: Holder) -> int:
        """Return the smallest ordinal that is neither delivered nor held by somebody who still waits."""
        request = fingerprint(digest)
        held = self._held.setdefault(request, {})
        delivered: Container[int] = self._beyond.get(request, ())
        ordinal = self._below.get(request, 0)
        while ordinal in delivered or (ordinal in held and not held[ordinal].is_gone()):
            ordinal += 1
        held[ordinal] = holder
        return ordinal

    def delivered(self, digest: bytes, ordinal: int, holder: Holder) -> None:
        """Spend an ordinal: its answer reached the holder."""
        self.released(digest, ordinal, holder)
        request = fingerprint(digest)
        below = self._below.get(request, 0)
        if ordinal > below:
            self._beyond.setdefault(request, set()).add(ordinal)
        elif ordinal == below:
            self._below[request] = self._closed(request, below + 1)

    def released(self, digest: bytes, ordinal: int, holder: Holder) -> None:
        """Give an ordinal back undelivered; nothing where somebody else has taken it over."""
        request = fingerprint(digest)
        held = self._held.get(request, {})
        if held.get(ordinal) is holder:
            del held[ordinal]
            if not held:
                del self._held[request]

    def _closed(self, request: int, below: int) -> int:
        """Return the first ordinal from `below` that is not delivered, forgetting those before it."""
        beyond = self._beyond.get(request)
        if beyond is None:
            return below
        while below in beyond:
            beyond.remove(below)
            below += 1
        if not beyond:
            del self._beyond[request]
        return below
