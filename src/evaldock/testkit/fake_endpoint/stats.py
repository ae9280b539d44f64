"""What was asked and answered, for a test to check against what a harness reports."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypedDict

from evaldock.testkit.fake_endpoint.answer import Outcome
from evaldock.testkit.fake_endpoint.table import PROBE, AnswerTable

_KEPT_REQUESTS = 256
_KEPT_BODY_BYTES = 64 * 2**10


class ItemStats(TypedDict):
    """One item: requests that asked for it, intact answers sent, right ones, and their share."""

    asked: int
    answered: int
    right: int
    right_share: float | None


class KindStats(TypedDict):
    """Answers of one kind of item, one per prompt answered."""

    right: int
    wrong: int


class Stats(TypedDict):
    """The body of GET /_fake/stats."""

    requests: int
    routes: dict[str, int]
    statuses: dict[str, int]
    faults: dict[str, int]
    answers: dict[str, KindStats]
    unmatched: int
    no_choice: int
    probes: int
    items: dict[str, ItemStats]
    items_in_table: int
    right_in_table: int
    in_flight: int
    max_concurrency: int


class SeenRequest(TypedDict):
    """One of the last request bodies, cut at 64 KiB."""

    route: str
    ordinal: int
    body: str


class Ledger:
    """Counts requests and answers; one per endpoint, used from one event loop only."""

    def __init__(self, table: AnswerTable) -> None:
        self._table = table
        self._in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything but the requests in flight."""
        self._routes: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._ordinals: Counter[int] = Counter()
        self._asked: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()
        self._right: Counter[str] = Counter()
        self._kinds: Counter[tuple[str, bool]] = Counter()
        self._unmatched = self._no_choice = self._probes = 0
        self._max_in_flight = self._in_flight
        self._seen: deque[tuple[str, int, bytes]] = deque(maxlen=_KEPT_REQUESTS)

    @property
    def in_flight(self) -> int:
        """How many requests are being answered now."""
        return self._in_flight

    @contextmanager
    def request(self, route: str) -> Iterator[None]:
        """Count one request, and that it is in flight until the block ends."""
        self._routes[route] += 1
        self._in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self._in_flight)
        try:
            yield
        finally:
            self._in_flight -= 1

    def ordinal(self, route: str, body: bytes, body_hash: int) -> int:
        """Note a body; how often it was seen by now (1 for the first time)."""
        self._ordinals[body_hash] += 1
        self._seen.append((route, self._ordinals[body_hash], body[:_KEPT_BODY_BYTES]))
        return self._ordinals[body_hash]

    def asked(self, outcomes: Iterable[Outcome]) -> None:
        """Count the items a request asks for, whatever becomes of it."""
        for outcome in outcomes:
            if outcome.item is not None and outcome.item.id != PROBE.id:
                self._asked[outcome.item.id] += 1

    @property
    def asked_so_far(self) -> Mapping[str, int]:
        """How often each item was asked since the last reset."""
        return self._asked

    def answered(self, outcomes: Iterable[Outcome]) -> None:
        """Count answers sent intact."""
        for outcome in outcomes:
            if outcome.item is None:
                self._unmatched += 1
            elif outcome.item.id == PROBE.id:
                self._probes += 1
            elif outcome.no_choice:
                self._no_choice += 1
            else:
                self._answered[outcome.item.id] += 1
                self._right[outcome.item.id] += outcome.right
                self._kinds[outcome.item.kind, outcome.right] += 1

    def status(self, status: int) -> None:
        """Count a status line sent."""
        self._statuses[str(status)] += 1

    def fault(self, action: str) -> None:
        """Count a fault that hit."""
        self._faults[action] += 1

    def stats(self) -> Stats:
        """Everything counted since the last reset."""
        return Stats(
            requests=self._routes.total(),
            routes=dict(self._routes),
            statuses=dict(self._statuses),
            faults=dict(self._faults),
            answers={kind: self._kind(kind) for kind in ("generate", "choice")},
            unmatched=self._unmatched,
            no_choice=self._no_choice,
            probes=self._probes,
            items={item_id: self._item(item_id) for item_id in sorted(self._asked)},
            items_in_table=len(self._table.items),
            right_in_table=sum(map(self._table.is_right, self._table.items)),
            in_flight=self._in_flight,
            max_concurrency=self._max_in_flight,
        )

    def last_requests(self) -> list[SeenRequest]:
        """The last bodies seen, oldest first."""
        return [
            SeenRequest(route=route, ordinal=ordinal, body=body.decode(errors="replace"))
            for route, ordinal, body in self._seen
        ]

    def _kind(self, kind: str) -> KindStats:
        return KindStats(right=self._kinds[kind, True], wrong=self._kinds[kind, False])

    def _item(self, item_id: str) -> ItemStats:
        answered, right = self._answered[item_id], self._right[item_id]
        return ItemStats(
            asked=self._asked[item_id],
            answered=answered,
            right=right,
            right_share=right / answered if answered else None,
        )
