"""What the last session of a task's store delivered and what it failed at, from headers."""

import statistics
from array import array
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import NamedTuple

from evaldock_entrypoints.exchanges.facts import Facts
from evaldock_entrypoints.exchanges.fingerprint import fingerprint
from evaldock_entrypoints.exchanges.frame import Kind
from evaldock_entrypoints.exchanges.headers import DeliveryHeader, ExchangeHeader
from evaldock_entrypoints.exchanges.reader import Index, Reader, Record, is_servable

_PERCENTILES = (50, 90, 95, 99)


@dataclass(kw_only=True, slots=True)
class Traffic:
    """Sums over the exchanges that the last session delivered, each once.

    An exchange counts with the figures of when it was asked, whichever session that was.
    """

    requests: int = 0
    cached: int = 0  # asked by an earlier session or another run
    retried: int = 0  # took more than one attempt
    generations: int = 0  # asked for new text; the next three count choices of these
    empty: int = 0
    refused: int = 0
    truncated: int = 0
    prompt_tokens: int | None = None  # None: no answer says
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    finish_reasons: Counter[str] = field(default_factory=Counter)
    served_models: Counter[str] = field(default_factory=Counter)
    latencies_ms: "array[float]" = field(default_factory=lambda: array("d"))
    ttfts_ms: "array[float]" = field(default_factory=lambda: array("d"))
    outstanding: list["Failure"] = field(default_factory=list)

    def count(self, facts: Facts) -> None:
        """Take a delivered exchange into the sums."""
        self.requests += 1
        self.retried += facts.attempts > 1
        if facts.is_generation:
            self.generations += 1
            self.empty += facts.empty
            self.refused += facts.refused
            self.truncated += facts.truncated
        self.prompt_tokens = _sum(self.prompt_tokens, facts.prompt_tokens)
        self.completion_tokens = _sum(self.completion_tokens, facts.completion_tokens)
        self.reasoning_tokens = _sum(self.reasoning_tokens, facts.reasoning_tokens)
        self.finish_reasons.update(facts.finish_reasons)
        if facts.served_model is not None:
            self.served_models[facts.served_model] += 1
        self.latencies_ms.append(facts.latency_ms)
        if facts.ttft_ms is not None:
            self.ttfts_ms.append(facts.ttft_ms)


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A request that got no answer, and none to the same request later on."""

    digest: bytes
    ordinal: int
    route: str
    status: int
    error: str
    message: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionTraffic:
    """The last session of a store. roles: auxiliary models by role, the model under evaluation as None.

    corrupt: places that are damaged, in records of any session. A body that is leaves its figures true.
    """

    session: str
    corrupt: int
    lost: int  # deliveries whose exchange is damaged: their figures are in no sum
    roles: Mapping[str | None, Traffic]

    @property
    def target(self) -> Traffic:
        """Of the model under evaluation."""
        return self.roles.get(None) or Traffic()

    @property
    def outstanding(self) -> list[Failure]:
        """Failures of all models."""
        return [failure for traffic in self.roles.values() for failure in traffic.outstanding]


def read_traffic(folder: Path, *, repeats: int = 1) -> SessionTraffic | None:
    """Return what the last session did that left a record; None where none has. Raises OSError.

    repeats: how often the harness asks each question. A failure that a later answer to the same body seems
    to make good stays one where an answer to one of the repeats is missing: that answer was another's.
    """
    with Reader(folder) as reader:
        index = Index(reader, is_servable, checks_bodies=True)
        corrupt = reader.corrupt  # the further passes meet the same damage again
        last = _last_session(reader)
        return _traffic(reader, index, corrupt, repeats, *last) if last is not None else None


def percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """Return p50, p90, p95, p99 and max, linear between the nearest values; None where there is none."""
    if not values:
        return None
    cuts = statistics.quantiles(values, n=100, method="inclusive") if len(values) > 1 else [values[0]] * 99
    return {**{f"p{percent}": cuts[percent - 1] for percent in _PERCENTILES}, "max": max(values)}


def _last_session(reader: Reader) -> tuple[str, list[int]] | None:
    """Return the newest session with a record, and its segments, the oldest first."""
    sessions = [_session(reader, number) for number in range(len(reader.paths))]
    last = next((session for session in reversed(sessions) if session is not None), None)
    if last is None:
        return None
    return last, [number for number, session in enumerate(sessions) if session == last]


def _session(reader: Reader, number: int) -> str | None:
    """Return whose segment this is: each belongs to one session."""
    return next((record.header.session for record in reader.records(number)), None)


def _traffic(
    reader: Reader, index: Index, corrupt: int, repeats: int, session: str, numbers: Sequence[int]
) -> SessionTraffic:
    delivered, failures = _events(reader, numbers)
    outstanding = [*failures.outstanding(), *failures.doubtful(delivered, repeats)]
    roles: defaultdict[str | None, Traffic] = defaultdict(Traffic)
    for key, header in _answers(reader, index, delivered):
        roles[header.role].count(header.facts)
        roles[header.role].cached += delivered.pop(key)
    for role, failure in outstanding:
        roles[role].outstanding.append(failure)
    return SessionTraffic(session=session, corrupt=corrupt, lost=len(delivered), roles=dict(roles))


def _events(reader: Reader, numbers: Iterable[int]) -> tuple[dict[int, bool], "_Failures"]:
    """Return which exchanges were delivered, and whether from the store; and what failed."""
    delivered: dict[int, bool] = {}
    failures = _Failures()
    for number in numbers:
        for record in reader.records(number, (Kind.DELIVERY, Kind.FAILURE)):
            if isinstance(record.header, DeliveryHeader):
                if not record.header.is_lookup:
                    delivered[fingerprint(record.digest, record.ordinal)] = record.header.source != "asked"
                failures.answered(record.digest, record.header.arrived)
            elif isinstance(record.header, ExchangeHeader):
                failures.add(record, record.header)
    return delivered, failures


def _answers(reader: Reader, index: Index, delivered: Iterable[int]) -> Iterator[tuple[int, ExchangeHeader]]:
    """Yield the exchanges that were delivered, each once: of several with one key the last."""
    for place in index.places(delivered):
        for record in reader.record_at(place):
            if isinstance(record.header, ExchangeHeader):
                yield fingerprint(record.digest, record.ordinal), record.header


class _Failures:
    """Failures of a session, and which of them a later request to the same body made good.

    A request that came after a failure is taken as its second try, and as that of one failure only. Where
    it fails as well, it stands in the first one's place.
    """

    def __init__(self) -> None:
        self._open: dict[bytes, list[_Failed]] = {}  # in the order they happened
        self._made_good: dict[bytes, list[_Failed]] = {}

    def add(self, record: Record, header: ExchangeHeader) -> None:
        self._struck_out(record.digest, header.arrived)
        failure = Failure(
            digest=record.digest,
            ordinal=record.ordinal,
            route=header.route,
            status=header.status,
            error=header.facts.error or "unknown",
            message=header.facts.message,
        )
        self._open.setdefault(record.digest, []).append(_Failed(header.sequence, header.role, failure))

    def answered(self, digest: bytes, arrived: int) -> None:
        """Take an answer to a request that came after a failure as that failure's."""
        failed = self._struck_out(digest, arrived)
        if failed is not None:
            self._made_good.setdefault(digest, []).append(failed)

    def outstanding(self) -> Iterator[tuple[str | None, Failure]]:
        for failures in self._open.values():
            yield from ((failed.role, failed.failure) for failed in failures)

    def doubtful(self, delivered: Container[int], repeats: int) -> Iterator[tuple[str | None, Failure]]:
        """Yield those made good by an answer that some other repeat of the question lacks."""
        for digest, failures in self._made_good.items():
            answers = next(n for n in count() if fingerprint(digest, n) not in delivered)
            missing = -(answers + len(self._open.get(digest, ()))) % repeats
            yield from ((failed.role, failed.failure) for failed in failures[:missing])

    def _struck_out(self, digest: bytes, arrived: int) -> "_Failed | None":
        """Strike out the last failure before this arrival, which leaves earlier ones to slower requests."""
        failures = self._open.get(digest, [])
        found = (at for at in reversed(range(len(failures))) if failures[at].sequence < arrived)
        position = next(found, None)
        return None if position is None else failures.pop(position)


class _Failed(NamedTuple):
    sequence: int
    role: str | None
    failure: Failure


def _sum(total: int | None, further: int | None) -> int | None:
    return total if further is None else (total or 0) + further
