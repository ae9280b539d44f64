"""The bench itself: an endpoint, contenders before it, measured in turn."""

import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from urllib.request import urlopen

from benchmarks.proxies.contenders import ROUTE, Contender, Proxy
from benchmarks.proxies.load import Load, Outcome, put
from benchmarks.proxies.processes import BenchmarkError, Running, free_port, running

DIRECT = "no proxy"
_NUMBERS = itertools.count(0, 10_000_000)  # where each load's numbers begin: bodies are never the same
Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long and how often everything is measured."""

    rounds: int = 7
    seconds: float = 1.5  # of load, each time
    settle_s: float = 1.1  # after it, for work that was put off
    peers: bool = True
    busy_seconds: float = 5.0  # of load with many connections
    busy_warm_up_s: float = 2.0
    busy_connections: int = 1024
    rerun_requests: int = 24_000  # with 32 connections and 200 ms each: a first run of 150 s
    hit_requests: int = 20_000


FULL = Effort()
QUICK = Effort(
    rounds=1,
    seconds=0.3,
    settle_s=0.1,
    busy_seconds=0.5,
    busy_warm_up_s=0.5,
    busy_connections=64,
    rerun_requests=320,
    hit_requests=500,
)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """The endpoint behind every contender."""

    process: Running

    @property
    def base(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.process.port}"

    @property
    def url(self) -> str:
        """Where it takes chat requests."""
        return f"{self.base}{ROUTE}"

    def calls(self) -> int:
        """Return how many chat requests it has seen."""
        with urlopen(f"{self.base}/calls", timeout=10) as answer:
            return int(answer.read())


@dataclass(frozen=True, kw_only=True)
class Lab:
    """An endpoint and a folder for what contenders write."""

    endpoint: Endpoint
    folder: Path
    effort: Effort
    skipped: dict[str, str] = field(default_factory=dict)  # contenders that did not start, and why

    @contextmanager
    def all_of(self, contenders: Sequence[Contender]) -> Iterator[dict[str, Proxy]]:
        """Start all contenders; one that does not start is left out, and the table says so."""
        with ExitStack() as stack:
            yield {
                contender.name: proxy
                for contender in contenders
                if (proxy := self._started(contender, stack)) is not None
            }

    def direct(self) -> Proxy:
        """Return the endpoint as if it were a contender."""
        return Proxy(process=self.endpoint.process, url=self.endpoint.url)

    def notes(self) -> list[str]:
        """Return what the table has to say of contenders that are missing."""
        return [f"{name} is missing: {why}" for name, why in self.skipped.items()]

    def folder_of(self, contender: Contender) -> Path:
        """Return where a contender writes."""
        return self.folder / contender.name.replace(" ", "-").replace(",", "")

    def _started(self, contender: Contender, stack: ExitStack) -> Proxy | None:
        try:
            return stack.enter_context(contender.start(self.endpoint.base, self.folder_of(contender)))
        except BenchmarkError as error:
            self.skipped[contender.name] = str(error)
            return None


@contextmanager
def lab(folder: Path, effort: Effort, *arguments: str) -> Iterator[Lab]:
    """Start the endpoint, told these arguments, and yield the bench."""
    port = free_port()
    argv = [sys.executable, "-m", "benchmarks.proxies.upstream", "--port", str(port), *arguments]
    with running(argv, port=port, log=folder / "endpoint.log") as process:
        yield Lab(endpoint=Endpoint(process=process), folder=folder, effort=effort)


def alternate(measures: Mapping[str, Callable[[], Found]], rounds: int) -> dict[str, list[Found]]:
    """Measure all of them in turn, A B C A B C …, after one round that does not count."""
    for measure in measures.values():
        measure()
    turns = [{name: measure() for name, measure in measures.items()} for _ in range(rounds)]
    return {name: [turn[name] for turn in turns] for name in measures}


def load_on(proxy: Proxy, load: Load) -> Outcome:
    """Put a load on a contender, with bodies that nobody has seen before."""
    return put(replace(load, url=proxy.url, first=next(_NUMBERS)))


def flawless(name: str, outcome: Outcome) -> Outcome:
    """Return the outcome; raises BenchmarkError where a request failed."""
    if outcome.errors or not outcome.answered:
        raise BenchmarkError(f"{name}: {outcome.errors} of {outcome.sent} requests failed")
    return outcome
