"""The store of one task: answers from earlier sessions and other runs, and the audit trail."""

import os
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from evaldock_entrypoints.contract.errors import ExecutionError
from evaldock_entrypoints.exchanges.fingerprint import fingerprint
from evaldock_entrypoints.exchanges.frame import Kind
from evaldock_entrypoints.exchanges.headers import encode_delivery, encode_exchange, encode_start
from evaldock_entrypoints.exchanges.key import DIGEST_BYTES
from evaldock_entrypoints.exchanges.reader import Index, Place, Reader, servable_but_to
from evaldock_entrypoints.exchanges.record import Delivery, Exchange, Found, Note, Source
from evaldock_entrypoints.exchanges.segments import Head
from evaldock_entrypoints.exchanges.writer import Entry, Writer


class Store:
    """Keeps what one session of one task asks and receives, and serves what earlier ones asked.

    The folder belongs to one session at a time. A shared folder may be written by several runs on
    several machines at once, each into segments of its own; what others add is seen at the next opening.
    It must be distinct for each model: nothing here tells models apart.
    """

    def __init__(
        self,
        folder: Path,
        *,
        session: str,
        shared: Mapping[str | None, Path] | None = None,
        reuse: bool = True,
        anew: Collection[str | None] = (),
    ) -> None:
        """Open the folders and index them; raises ExecutionError.

        shared: by role; None: of the model under evaluation. reuse: serve what was stored before. anew: roles
        that are asked all the same.
        """
        self.session = session
        self._sequence = 0
        self._fresh: dict[int, _Kept] = {}  # by this session, not delivered yet
        self._own = _opened(folder)
        is_wanted = servable_but_to(anew) if reuse else None
        self._own_index = Index(self._own, is_wanted) if is_wanted else None
        self._own_writer = Writer(folder)
        shelves = {path: _shelf(path, is_wanted) for path in dict.fromkeys((shared or {}).values())}
        self._shelves = {role: shelves[path] for role, path in (shared or {}).items()}
        self._all_shelves = tuple(shelves.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    @property
    def corrupt(self) -> int:
        """How many damaged places were met so far."""
        return self._own.corrupt + sum(shelf.reader.corrupt for shelf in self._all_shelves)

    def arrived(self) -> int:
        """Return the sequence number of a request that came just now; its delivery names it."""
        self._sequence += 1
        return self._sequence

    def begin(self) -> None:
        """Note that a harness came; raises ExecutionError. What it does not ask it cannot prove."""
        header = encode_start(self.session, self.arrived(), time.time())
        self._own_writer.append(Entry(Kind.START, 0, 0, bytes(DIGEST_BYTES), header))

    def find(self, digest: bytes, ordinal: int) -> Found | None:
        """Return the answer that is kept for this request, if there is one.

        One that this session has delivered already is not served again, for its ordinal is spent.
        """
        fresh = self._fresh.get(fingerprint(digest, ordinal))
        if fresh is not None:
            kept = fresh.exchange
            exchange = self._own.read(kept) if isinstance(kept, Place) else kept
            return _found(exchange, digest, ordinal, fresh.source)
        return self._stored(digest, ordinal) or self._from_others(digest, ordinal)

    def add(self, exchange: Exchange) -> None:
        """Keep an answer, in the shared folder too; raises ExecutionError."""
        self._keep(exchange, "asked")
        shelf = self._shelves.get(exchange.role)
        if shelf is not None and exchange.is_servable:
            shelf.writer.append(self._entry(exchange))

    def fail(self, exchange: Exchange, *, arrived: int) -> None:
        """Keep a failure, whose facts name the error: it is never served; raises ExecutionError."""
        self._own_writer.append(self._entry(exchange, arrived=arrived))

    def deliver(
        self,
        digest: bytes,
        ordinal: int,
        *,
        source: Source,
        arrived: int,
        notes: Mapping[str, Note] | None = None,
        is_lookup: bool = False,
    ) -> None:
        """Note that the harness received an answer whole; raises ExecutionError.

        is_lookup: the answer may be given again.
        """
        if not is_lookup:
            self._fresh.pop(fingerprint(digest, ordinal), None)
        delivery = Delivery(
            digest=digest,
            ordinal=ordinal,
            session=self.session,
            source=source,
            at=time.time(),
            arrived=arrived,
            notes=notes or {},
            is_lookup=is_lookup,
        )
        header = encode_delivery(delivery, self.arrived())
        self._own_writer.append(Entry(Kind.DELIVERY, 0, ordinal, digest, header))

    def flush(self) -> None:
        """Return when all is on disk; raises ExecutionError."""
        self._own_writer.flush()
        for shelf in self._all_shelves:
            shelf.writer.flush()

    def close(self) -> None:
        """Write what is left and close; raises ExecutionError."""
        with ExitStack() as stack:  # all of them, also where one fails
            for shelf in self._all_shelves:
                stack.callback(shelf.writer.close)
                stack.callback(shelf.reader.close)
            stack.callback(self._own.close)
            stack.callback(self._own_writer.close)

    def _stored(self, digest: bytes, ordinal: int) -> Found | None:
        place = self._own_index.find(digest, ordinal) if self._own_index else None
        return _found(self._own.read(place), digest, ordinal, "stored") if place else None

    def _from_others(self, digest: bytes, ordinal: int) -> Found | None:
        """Look into shared folders; what is found there is kept here too, so that the trail is whole."""
        for shelf in self._all_shelves:
            place = shelf.index.find(digest, ordinal) if shelf.index else None
            found = _found(shelf.reader.read(place), digest, ordinal, "shared") if place else None
            if found is not None:
                self._keep(found.exchange, "shared")
                return found
        return None

    def _keep(self, exchange: Exchange, source: Source) -> None:
        if not exchange.is_servable:
            self._own_writer.append(self._entry(exchange))
            return
        key = fingerprint(exchange.digest, exchange.ordinal)
        self._fresh[key] = _Kept(exchange, source)
        self._own_writer.append(self._entry(exchange, partial(self._is_written, key)))

    def _entry(
        self, exchange: Exchange, is_written: Callable[[Path, int], None] | None = None, *, arrived: int = 0
    ) -> Entry:
        return Entry(
            Kind.FAILURE if exchange.facts.error is not None else Kind.EXCHANGE,
            exchange.status,
            exchange.ordinal,
            exchange.digest,
            encode_exchange(exchange, session=self.session, sequence=self.arrived(), arrived=arrived),
            (exchange.request, exchange.response),
            is_written,
        )

    def _is_written(self, key: int, path: Path, offset: int) -> None:
        """Forget the bodies of an answer that is on disk; called by the writer's thread."""
        kept = self._fresh.get(key)
        if kept is not None:
            self._fresh[key] = _Kept(Place(self._own.add(path), offset), kept.source)


@dataclass(frozen=True, slots=True)
class _Shelf:
    """A folder that runs share."""

    reader: Reader
    index: Index | None
    writer: Writer


class _Kept(NamedTuple):
    exchange: Exchange | Place  # in memory until it is on disk
    source: Source


def _found(exchange: Exchange | None, digest: bytes, ordinal: int, source: Source) -> Found | None:
    """Return the exchange if it is the one that was looked for."""
    if exchange is None or (exchange.digest, exchange.ordinal) != (digest, ordinal):
        return None
    return Found(exchange=exchange, source=source)


def _shelf(folder: Path, is_wanted: Callable[[Head], bool] | None) -> _Shelf:
    reader = _opened(folder)
    return _Shelf(reader, Index(reader, is_wanted) if is_wanted else None, Writer(folder))


def _opened(folder: Path) -> Reader:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "no permission to write")
        return Reader(folder)
    except OSError as error:
        raise ExecutionError(
            f"exchanges cannot be kept: {error.strerror}",
            where=str(folder),
            next_step="name a folder for the results that may be written",
        ) from error
