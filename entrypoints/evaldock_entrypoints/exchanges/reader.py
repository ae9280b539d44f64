"""Reads the segments of a folder: an index of what may be served, single exchanges, all records."""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from evaldock_entrypoints.exchanges.fingerprint import fingerprint
from evaldock_entrypoints.exchanges.frame import DamagedError, Kind, decode_payload
from evaldock_entrypoints.exchanges.headers import (
    DeliveryHeader,
    ExchangeHeader,
    decode_delivery,
    decode_exchange,
)
from evaldock_entrypoints.exchanges.record import Exchange
from evaldock_entrypoints.exchanges.segments import Damage, Head, Segment, segment_paths

_OFFSET_BITS = 44


class Place(NamedTuple):
    """Where a record is: the number of its segment, the oldest being 0, and its offset there."""

    segment: int
    offset: int


class Record(NamedTuple):
    """A record without its bodies."""

    place: Place
    digest: bytes
    ordinal: int
    is_failure: bool
    header: ExchangeHeader | DeliveryHeader


class Reader:
    """A folder of segments, as it was when it was opened.

    `corrupt` counts what was found damaged so far: stretches without a record, bodies and headers that
    are not what was written, segments that cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        """Find the segments; raises OSError where the folder cannot be listed."""
        self.corrupt = 0
        self.folder = folder
        self.paths = segment_paths(folder)
        self._open: dict[int, Segment | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open."""
        for segment in self._open.values():
            if segment is not None:
                segment.close()
        self._open.clear()

    def add(self, path: Path) -> int:
        """Take up a segment that came later, and return its number."""
        if path not in self.paths:
            self.paths.append(path)
        return self.paths.index(path)

    def heads(self, number: int) -> Iterator[Head]:
        """Yield the heads of one segment's records, counting what is damaged."""
        segment = self._segment(number)
        if segment is None:
            return
        try:
            for found in segment.scan():
                if isinstance(found, Damage):
                    self.corrupt += 1
                else:
                    yield found
        except OSError:
            self.corrupt += 1

    def records(self, number: int) -> Iterator[Record]:
        """Yield one segment's records without their bodies, in the order they were written."""
        for head in self.heads(number):
            try:
                yield _record(Place(number, head.offset), head)
            except DamagedError:
                self.corrupt += 1

    def read(self, place: Place, *, most_bytes: int | None = None) -> Exchange | None:
        """Return an exchange with its bodies; None, and counted, where it is damaged or too large."""
        segment = self._segment(place.segment)
        try:
            head = segment.head_at(place.offset) if segment is not None else None
            if segment is None or head is None:
                raise DamagedError("no record begins here")
            if most_bytes is not None and head.prefix.payload_bytes > most_bytes:
                raise DamagedError("the bodies are too large")
            return _exchange(head, decode_payload(head.prefix, segment.payload_of(head)))
        except (DamagedError, OSError):
            self.corrupt += 1
            return None

    def _segment(self, number: int) -> Segment | None:
        if number not in self._open:
            try:
                self._open[number] = Segment(self.paths[number])
            except OSError:
                self.corrupt += 1
                self._open[number] = None
        return self._open[number]


class Index:
    """Where the exchanges are that may be served: 16 bytes for each, built from heads alone."""

    def __init__(self, reader: Reader, is_wanted: Callable[[Head], bool]) -> None:
        """Scan all segments; of several records with one key the last counts."""
        found = []
        for number in range(len(reader.paths)):
            for head in reader.heads(number):
                if is_wanted(head):
                    key = fingerprint(head.prefix.digest, head.prefix.ordinal)
                    found.append((key << 64) | (number << _OFFSET_BITS) | head.offset)
        found.sort()
        self._keys = array("Q", (entry >> 64 for entry in found))
        self._places = array("Q", (entry & ((1 << 64) - 1) for entry in found))

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, digest: bytes, ordinal: int) -> Place | None:
        """Return where the exchange is, if it is; what is there is to be compared, keys being short."""
        key = fingerprint(digest, ordinal)
        position = bisect_right(self._keys, key) - 1
        if position < 0 or self._keys[position] != key:
            return None
        place = self._places[position]
        return Place(place >> _OFFSET_BITS, place & ((1 << _OFFSET_BITS) - 1))


def is_servable(head: Head) -> bool:
    """Tell whether the record is an exchange that may answer a later request."""
    return head.prefix.kind == Kind.EXCHANGE and 200 <= head.prefix.status < 300


def _record(place: Place, head: Head) -> Record:
    kind, prefix = head.prefix.kind, head.prefix
    is_delivery = kind == Kind.DELIVERY
    header = decode_delivery(head.header) if is_delivery else decode_exchange(head.header)
    return Record(place, prefix.digest, prefix.ordinal, kind == Kind.FAILURE, header)


def _exchange(head: Head, payload: bytes) -> Exchange:
    header = decode_exchange(head.header)
    return Exchange(
        digest=head.prefix.digest,
        ordinal=head.prefix.ordinal,
        role=header.role,
        route=header.route,
        status=header.status,
        content_type=header.content_type,
        request=payload[: header.request_bytes],
        response=payload[header.request_bytes :],
        is_stream=header.is_stream,
        facts=header.facts,
    )
