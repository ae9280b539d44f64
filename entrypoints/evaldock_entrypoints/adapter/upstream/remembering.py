"""Requests that an endpoint cannot digest: after five failures in a session they are not asked again."""

from collections import OrderedDict
from dataclasses import replace

from evaldock_entrypoints.adapter.upstream.failure import Failure
from evaldock_entrypoints.adapter.upstream.reply import Reply

TIMES = 5
_KEPT = 65536


class Hopeless:
    """Counts failures of one body in a row, over all requests that carry it; a good answer forgets them."""

    def __init__(self) -> None:
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        self._replies: OrderedDict[bytes, Reply] = OrderedDict()

    def reply_to(self, digest: bytes) -> Reply | None:
        """Return the failure that stands for a body."""
        return self._replies.get(digest)

    def note(self, digest: bytes, failure: Failure) -> bool:
        """Count a failure; return whether the body is not to be asked again."""
        if not digest or not failure.blames_body:
            return False
        count = self._counts[digest] = self._counts.get(digest, 0) + 1
        if len(self._counts) > _KEPT:
            self._counts.popitem(last=False)
        return count >= TIMES

    def is_over(self, digest: bytes) -> bool:
        """Tell whether a body is not to be asked again."""
        return self._counts.get(digest, 0) >= TIMES

    def stands(self, digest: bytes, reply: Reply) -> None:
        """Keep the reply of a body that is not asked again."""
        self._replies[digest] = replace(reply, attempts=0, latency_ms=0.0, sunk=False)
        if len(self._replies) > _KEPT:
            self._replies.popitem(last=False)

    def forget(self, digest: bytes) -> None:
        """Note a good answer."""
        if self._counts:
            self._counts.pop(digest, None)
