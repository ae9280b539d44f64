"""The store of one task, read only: what was asked before is answered, and nothing is noted."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from evaldock_entrypoints.contract.errors import ExecutionError
from evaldock_entrypoints.exchanges.reader import Index, Reader, is_servable
from evaldock_entrypoints.exchanges.record import Exchange, Found


class ReplayStore:
    """Serves what is stored; the proof of it is that of the session that asked."""

    def __init__(self, folder: Path, *, session: str) -> None:
        """Index the folder; raises ExecutionError."""
        self.session = session
        self._sequence = 0
        try:
            self._reader = Reader(folder)
        except OSError as error:
            raise ExecutionError(
                f"exchanges cannot be read: {error.strerror}",
                where=str(folder),
                next_step="run the phases that ask the endpoint first",
            ) from error
        self._index = Index(self._reader, is_servable)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._reader.close()

    @property
    def corrupt(self) -> int:
        """How many damaged places were met so far."""
        return self._reader.corrupt

    def arrived(self) -> int:
        """Return the sequence number of a request that came just now."""
        self._sequence += 1
        return self._sequence

    def find(self, digest: bytes, ordinal: int) -> Found | None:
        """Return the answer that is kept for this request, if there is one."""
        place = self._index.find(digest, ordinal)
        exchange = self._reader.read(place) if place else None
        if exchange is None or (exchange.digest, exchange.ordinal) != (digest, ordinal):
            return None
        return Found(exchange=exchange, source="stored")

    def add(self, exchange: Exchange) -> None:
        """Raise ExecutionError: nothing is asked, so there is nothing to keep."""
        raise ExecutionError(
            "a replay has nothing to keep", where=exchange.route, next_step="a fault of evaldock"
        )

    def begin(self) -> None:
        """Note nothing: whose session it was stands there already."""

    def fail(self, exchange: Exchange, *, arrived: int) -> None:
        """Note nothing: a request that is not in the store was answered with an error."""

    def deliver(self, digest: bytes, ordinal: int, **_: Any) -> None:
        """Note nothing: the delivery that counts is the first one."""

    def flush(self) -> None:
        """Return at once: nothing is written."""
