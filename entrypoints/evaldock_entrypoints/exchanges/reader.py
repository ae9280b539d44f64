"""Reads the segments of a folder: an index of what may be served, single exchanges, all records."""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import zstandard

from evaldock_entrypoints.exchanges.fingerprint import fingerprint
from evaldock_entrypoints.exchanges.frame import DamagedError, Kind, decode_payload, is_whole_payload
from evaldock_entrypoints.exchanges.headers import (
    DeliveryHeader,
    ExchangeHeader,
    StartHeader,
    decode_delivery,
    decode_exchange,
    decode_start,
)
from evaldock_entrypoints.exchanges.record import Exchange
from evaldock_entrypoints.exchanges.segments import Damage, Head, Segment, segment_paths

_OFFSET_BITS = 44
_DECODERS: Mapping[int, Callable[[bytes], DeliveryHeader | StartHeader | ExchangeHeader]] = {
    Kind.DELIVERY: decode_delivery,
    Kind.START: decode_start,
}


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
    header: ExchangeHeader | DeliveryHeader | StartHeader


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
        self._decompressor = zstandard.ZstdDecompressor()
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

    def heads(self, number: int, *, checks_bodies: bool = False) -> Iterator[Head]:
        """Yield the heads of one segment's records, counting what is damaged, bodies where asked for."""
        segment = self._segment(number)
        if segment is None:
            return
        try:
            for found in segment.scan():
                if isinstance(found, Damage):
                    self.corrupt += 1
                    continue
                if checks_bodies and not is_whole_payload(found.prefix, segment.payload_of(found)):
                    self.corrupt += 1
                yield found
        except OSError:
            self.corrupt += 1

    def records(self, number: int, kinds: Container[int] = frozenset(Kind)) -> Iterator[Record]:
        """Yield one segment's records without their bodies, in the order they were written."""
        for head in self.heads(number):
            if head.prefix.kind in kinds:
                yield from self._decoded(Place(number, head.offset), head)

    def record_at(self, place: Place) -> Iterator[Record]:
        """Yield the one record without its bodies; none where it is damaged."""
        segment = self._segment(place.segment)
        try:
            head = segment.head_at(place.offset) if segment is not None else None
        except OSError:
            head = None
        if head is None:
            self.corrupt += 1
        else:
            yield from self._decoded(place, head)

    def _decoded(self, place: Place, head: Head) -> Iterator[Record]:
        try:
            yield _record(place, head)
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
            return _exchange(head, self._payload(segment, head))
        except (DamagedError, OSError):
            self.corrupt += 1
            return None

    def _payload(self, segment: Segment, head: Head) -> bytes:
        return decode_payload(head.prefix, segment.payload_of(head), self._decompressor.decompress)

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

    def __init__(
        self, reader: Reader, is_wanted: Callable[[Head], bool], *, checks_bodies: bool = False
    ) -> None:
        """Scan all segments; of several records with one key the last counts. checks_bodies: as of heads."""
        found = []
        for number in range(len(reader.paths)):
            for head in reader.heads(number, checks_bodies=checks_bodies):
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
        packed = self._packed(fingerprint(digest, ordinal))
        return None if packed is None else _unpacked(packed)

    def places(self, keys: Iterable[int]) -> Iterator[Place]:
        """Yield where the exchanges with these fingerprints are, in the order they were written."""
        found = (self._packed(key) for key in keys)
        return map(_unpacked, sorted(packed for packed in found if packed is not None))

    def _packed(self, key: int) -> int | None:
        position = bisect_right(self._keys, key) - 1
        return self._places[position] if position >= 0 and self._keys[position] == key else None


def _unpacked(packed: int) -> Place:
    return Place(packed >> _OFFSET_BITS, packed & ((1 << _OFFSET_BITS) - 1))


def is_servable(head: Head) -> bool:
    """Tell whether the record is an exchange that may answer a later request."""
    return head.prefix.kind == Kind.EXCHANGE and 200 <= head.prefix.status < 300


def servable_but_to(roles: Collection[str | None]) -> Callable[[Head], bool]:
    """Return what tells whether a record may answer a later request, but for requests to these roles."""
    if not roles:
        return is_servable

    def is_wanted(head: Head) -> bool:
        try:
            return is_servable(head) and decode_exchange(head.header).role not in roles
        except DamagedError:
            return False

    return is_wanted


def _record(place: Place, head: Head) -> Record:
    kind, prefix = head.prefix.kind, head.prefix
    decode = _DECODERS.get(kind, decode_exchange)
    return Record(place, prefix.digest, prefix.ordinal, kind == Kind.FAILURE, decode(head.header))


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
