"""What the store holds: exchanges (failures are such with an error) and deliveries."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from evaldock_entrypoints.exchanges.facts import Facts

# asked: of the endpoint, in this session; stored, shared: by an earlier session, or by another run.
Source = Literal["asked", "stored", "shared"]
Note = str | int | float | bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """One request as it went out and the raw answer; a failure where `facts.error` is set."""

    digest: bytes  # of route and request: key.digest_of
    ordinal: int  # of that identical request in the task's run, from 0
    role: str | None = None  # of an auxiliary model; None: the model under evaluation
    route: str
    status: int
    content_type: str
    request: bytes  # after the interceptors of the request
    response: bytes  # before any interceptor of the answer; a stream's raw bytes where is_stream
    is_stream: bool = False
    facts: Facts

    @property
    def is_servable(self) -> bool:
        """Whether it may answer a later request."""
        return 200 <= self.status < 300 and self.facts.error is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A harness received the whole answer of an exchange."""

    digest: bytes
    ordinal: int
    session: str
    source: Source
    at: float  # seconds since 1970
    arrived: int  # the session's sequence number of the request's arrival
    notes: Mapping[str, Note] = field(default_factory=dict)
    is_lookup: bool = False  # of what has one answer for good, such as a tokenizer: no request of a figure


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An exchange that the store holds, and where it came from."""

    exchange: Exchange
    source: Source
