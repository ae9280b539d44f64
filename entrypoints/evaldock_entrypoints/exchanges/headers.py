"""The header of a record: all but the bodies, in JSON, without what has its default."""

from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from evaldock_entrypoints.exchanges.facts import Facts
from evaldock_entrypoints.exchanges.frame import MAX_HEADER_BYTES, DamagedError
from evaldock_entrypoints.exchanges.record import Delivery, Exchange, Note, Source

_LONGEST_TEXT = 4096
_DEFAULTS = [(item.name, None if item.default is MISSING else item.default) for item in fields(Facts)]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExchangeHeader:
    """Of an exchange or a failure. sequence: its place among the events of the session."""

    session: str
    sequence: int
    route: str
    status: int
    request_bytes: int
    facts: Facts
    arrived: int = 0  # the sequence number that the request got when it came
    role: str | None = None
    content_type: str = ""
    is_stream: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class DeliveryHeader:
    """Of a delivery. arrived: the sequence number that the request got when it came."""

    session: str
    sequence: int
    source: Source
    at: float
    arrived: int
    notes: dict[str, Note] = field(default_factory=dict)
    is_lookup: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class StartHeader:
    """A harness came: what was asked before it is no part of what it proves."""

    session: str
    sequence: int
    at: float


_EXCHANGE = TypeAdapter(ExchangeHeader)
_DELIVERY = TypeAdapter(DeliveryHeader)
_START = TypeAdapter(StartHeader)


def encode_exchange(exchange: Exchange, *, session: str, sequence: int, arrived: int) -> bytes:
    """Return the header of an exchange; raises TypeError where a fact is no JSON."""
    header: dict[str, Any] = {
        "session": session,
        "sequence": sequence,
        "arrived": arrived,
        "route": clipped(exchange.route),
        "status": exchange.status,
        "content_type": clipped(exchange.content_type),
        "request_bytes": len(exchange.request),
        "facts": _facts(exchange.facts),
    }
    if exchange.role is not None:
        header["role"] = exchange.role
    if exchange.is_stream:
        header["is_stream"] = True
    return _bounded(header)


def encode_delivery(delivery: Delivery, sequence: int) -> bytes:
    """Return the header of a delivery; raises TypeError where a note is no JSON."""
    header: dict[str, Any] = {
        "session": delivery.session,
        "sequence": sequence,
        "source": delivery.source,
        "at": delivery.at,
        "arrived": delivery.arrived,
    }
    if delivery.notes:
        header["notes"] = {
            name: clipped(note) if type(note) is str else note for name, note in delivery.notes.items()
        }
    if delivery.is_lookup:
        header["is_lookup"] = True
    return _bounded(header)


def encode_start(session: str, sequence: int, at: float) -> bytes:
    """Return the header of a start."""
    return _bounded({"session": session, "sequence": sequence, "at": at})


def decode_start(header: bytes) -> StartHeader:
    """Return what the header of a start says; raises DamagedError."""
    try:
        return _START.validate_json(header)
    except ValidationError as error:
        raise DamagedError("the header of a start is malformed") from error


def decode_exchange(header: bytes) -> ExchangeHeader:
    """Return what the header of an exchange says; raises DamagedError."""
    try:
        return _EXCHANGE.validate_json(header)
    except ValidationError as error:
        raise DamagedError("the header of an exchange is malformed") from error


def decode_delivery(header: bytes) -> DeliveryHeader:
    """Return what the header of a delivery says; raises DamagedError."""
    try:
        return _DELIVERY.validate_json(header)
    except ValidationError as error:
        raise DamagedError("the header of a delivery is malformed") from error


def clipped(text: str) -> str:
    """Return the beginning of a text that somebody else wrote, as valid Unicode."""
    return text[:_LONGEST_TEXT].encode("utf-8", "replace").decode()


def _facts(facts: Facts) -> dict[str, Any]:
    said = {}
    for name, default in _DEFAULTS:
        value = getattr(facts, name)
        if value != default:
            said[name] = clipped(value) if type(value) is str else value
    return said


def _bounded(header: dict[str, Any]) -> bytes:
    encoded = orjson.dumps(header)
    if len(encoded) > MAX_HEADER_BYTES:
        raise ValueError(f"the facts of one exchange take {len(encoded)} bytes: {MAX_HEADER_BYTES} at most")
    return encoded
