"""Toy runs in containers with a fault in them, and what each left: answers, attempts, times."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from tests.kit.toy import Silent, toy_plan

from evaldock.executors.outcome import read_results
from evaldock.plan import Plan
from evaldock.session import execute
from evaldock.testkit.fake_endpoint import RunningEndpoint
from evaldock.untrusted_files import iterate_zst_lines
from evaldock_entrypoints.contract.adapter import EXCHANGES
from evaldock_entrypoints.contract.errors import EvaldockError, ExitCode
from evaldock_entrypoints.exchanges.facts import Facts
from evaldock_entrypoints.exchanges.headers import DeliveryHeader, ExchangeHeader
from evaldock_entrypoints.exchanges.reader import Reader

TASK = "toy.sums"
ITEMS, SHARE = 20, 0.75
Answers = dict[str, tuple[str | None, bool | None]]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How a run ended. error: what ended it as a whole, before its tasks could."""

    folder: Path  # the task's
    code: ExitCode
    results: dict[str, Any]
    error: EvaldockError | None
    wall_s: float

    @property
    def score(self) -> tuple[float, int]:
        """The reported score and its n; KeyError where none is reported."""
        found = self.results["results"]["tasks"]["sums"]["metrics"]["acc"]["scores"]["acc"]
        return found["value"], found["n"]

    @property
    def metrics(self) -> dict[str, Any]:
        return dict(orjson.loads((self.folder / "metrics.json").read_bytes()))

    @property
    def said(self) -> str:
        """What a person is told of what went wrong."""
        if self.error is not None:
            return self.error.render()
        return str(self.results.get("error") or self.results.get("partial", {}).get("reasons"))

    def answers(self) -> Answers:
        return answers_in(self.folder)


def answers_in(folder: Path) -> Answers:
    """Return of each sample of a task's folder the answer, and whether it is right."""
    rows = map(orjson.loads, iterate_zst_lines(folder / "samples.jsonl.zst"))
    return {row["id"]: (row["response"], row["correct"]) for row in rows}


def asked(endpoint: RunningEndpoint) -> dict[str, int]:
    """Return how often each question reached the endpoint; those that did not are left out."""
    return {item: found["asked"] for item, found in endpoint.stats()["items"].items()}


@contextmanager
def sabotage(endpoint: RunningEndpoint, *, after: int, act: Callable[[], object]) -> Iterator[list[float]]:
    """Do something once so many questions have reached the endpoint; yields when, of time.monotonic."""
    times: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            if len(asked(endpoint)) >= after:
                times.append(time.monotonic())
                act()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield times
    finally:
        ended.set()
        watcher.join(10)


def document(
    *,
    params: Mapping[str, Any] | None = None,
    endpoint: Mapping[str, Any] | None = None,
    stream: bool | None = None,
) -> dict[str, Any]:
    """Return what a document says of parameters and of how the endpoint is asked."""
    chain = [{"name": "endpoint", "config": dict(endpoint or {})}]
    target = {"adapter_config": {"interceptors": chain}, **({} if stream is None else {"stream": stream})}
    return {"target": {"api_endpoint": target}, "evaluation": {"params": dict(params or {})}}


def run_plan(plan: Plan, events: Silent | None = None) -> Ran:
    """Carry a plan out, whatever comes of it."""
    folder = Path(plan.run_dir) / TASK
    began, error = time.monotonic(), None
    try:
        code = execute(plan, events or Silent())[0].exit_code
    except EvaldockError as raised:
        error, code = raised, ExitCode(raised.exit_code)
    wall_s = time.monotonic() - began
    return Ran(folder=folder, code=code, results=read_results(folder), error=error, wall_s=wall_s)


def run_toy(
    output_dir: Path,
    url: str,
    mode: str = "honest",
    *,
    events: Silent | None = None,
    key_name: str | None = None,
    **more: Any,
) -> Ran:
    """Run the toy harness; more: of `document`."""
    return run_plan(toy_plan(output_dir, url, mode, key_name=key_name, over=document(**more)), events)


@dataclass(frozen=True, kw_only=True)
class Journey:
    """A request that was answered. waited_s: from its start to its delivery, the last attempt left out."""

    attempts: int
    started_at: float  # seconds since 1970
    waited_s: float
    cached: bool


def journeys(task_folder: Path) -> dict[str, Journey]:
    """Return how each item's answer came."""
    with Reader(task_folder / EXCHANGES) as reader:
        records = [record for number in range(len(reader.paths)) for record in reader.records(number)]
        delivered = {
            record.digest: record.header for record in records if isinstance(record.header, DeliveryHeader)
        }
        return {
            _item(reader, record.place): _journey(record.header.facts, delivered[record.digest])
            for record in records
            if isinstance(record.header, ExchangeHeader)
            and not record.is_failure
            and record.digest in delivered
        }


def _item(reader: Reader, place: Any) -> str:
    exchange = reader.read(place)
    assert exchange is not None
    return str(orjson.loads(exchange.request)["prompt"]).split()[2]


def _journey(facts: Facts, delivery: DeliveryHeader) -> Journey:
    return Journey(
        attempts=facts.attempts,
        started_at=facts.started_at,
        waited_s=delivery.at - facts.started_at - facts.latency_ms / 1000,
        cached=delivery.source != "asked",
    )
