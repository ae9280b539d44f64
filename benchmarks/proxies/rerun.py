"""G4: answers from the store against answers from the endpoint, and a finished run once more."""

import itertools
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.proxies import contenders as of
from benchmarks.proxies.cost import OURS_FORWARDING
from benchmarks.proxies.lab import Effort, Lab, alternate, flawless, lab
from benchmarks.proxies.load import Load, Outcome, put
from benchmarks.proxies.processes import BenchmarkError
from benchmarks.proxies.table import Goal, Table

_CONNECTIONS = 32
_LATENCY_MS = 200
_FIRST_RUN_S = 150.0
_PEER_SHARE = 20  # of slow peers' stores only so much smaller a part is asked for
_OURS_CACHE = of.ours("cache", of.OUR_CACHE)
_NUMBERS = itertools.count(0, 10_000_000)


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """A contender with its store and without."""

    cached: of.Contender
    forwarding: of.Contender
    requests: int


def hits(folder: Path, effort: Effort) -> Table:
    """Measure requests/s from the store and past it, over one and the same set of requests."""
    with lab(folder, effort) as bench, ExitStack() as stack:
        measures: dict[str, Callable[[], float]] = {}
        for pair in _pairs(effort):
            measures |= _both(bench, pair, stack)
        rates = {
            name: sorted(values, reverse=True) for name, values in alternate(measures, effort.rounds).items()
        }
    rows = [(name, f"{one[0]:,.0f}", f"{one[0] - one[-1]:,.0f}") for name, one in rates.items()]
    ours = [rates.get(one.name) for one in (_OURS_CACHE, OURS_FORWARDING)]
    value = ours[0][0] / ours[1][0] if ours[0] and ours[1] else None
    return Table(
        title="G4: requests/s from the store and past it, 32 connections",
        columns=("contender", "most requests/s", "spread"),
        rows=rows,
        goals=[Goal(what="hits/s ÷ forwarding/s, ours", value=value, bound=1.4, at_least=True)],
        baseline=rates.get(OURS_FORWARDING.name, []),
        notes=bench.notes(),
    )


def whole_run(folder: Path, effort: Effort) -> Table:
    """Ask a whole task's requests once, then again of fresh adapters over the same folder."""
    with lab(folder, effort, "--latency-ms", str(_LATENCY_MS)) as bench:
        task = partial(_timed_run, bench, folder / "task", effort.rerun_requests)
        first_s, calls = task(), bench.endpoint.calls()
        again = sorted(task() for _ in range(effort.rounds))
        asked_again = bench.endpoint.calls() - calls
    rows = [
        ("first run", f"{first_s:.1f}", "-", f"{calls}"),
        (
            f"best of {effort.rounds} re-runs",
            f"{again[0]:.2f}",
            f"{again[-1] - again[0]:.2f}",
            f"{asked_again}",
        ),
    ]
    return Table(
        title=f"G4: a finished run of {effort.rerun_requests:,} requests once more, in a fresh process",
        columns=("run", "seconds", "spread", "calls of the endpoint"),
        rows=rows,
        goals=[
            Goal(what="re-run ÷ first run", value=again[0] / first_s, bound=0.10),
            Goal(what="calls of the endpoint in re-runs", value=asked_again, bound=0),
        ],
        baseline=again,
        notes=[] if first_s >= _FIRST_RUN_S else [f"the first run is shorter than {_FIRST_RUN_S:.0f} s"],
    )


def _pairs(effort: Effort) -> list[_Pair]:
    few = effort.hit_requests // _PEER_SHARE
    found = [_Pair(cached=_OURS_CACHE, forwarding=OURS_FORWARDING, requests=effort.hit_requests)]
    if effort.peers:
        found.append(
            _Pair(
                cached=of.nemo_0_3_0("cache", of.nemo_0_3_0_cache),
                forwarding=of.nemo_0_3_0("forwarding", of.forwarding_0_3_0),
                requests=few,
            )
        )
        found.append(
            _Pair(
                cached=of.nemo_0_2_8("cache", of.nemo_0_2_8_cache),
                forwarding=of.nemo_0_2_8("forwarding", of.forwarding_0_2_8),
                requests=few,
            )
        )
    return found


def _both(bench: Lab, pair: _Pair, stack: ExitStack) -> dict[str, Callable[[], float]]:
    """Fill a contender's store; return what measures answers from it and past it."""
    first = next(_NUMBERS)
    try:
        hits_per_s = _stored(bench, pair, first)
        forwarding = stack.enter_context(bench.all_of([pair.forwarding]))[pair.forwarding.name]
    except (BenchmarkError, KeyError) as error:
        bench.skipped[pair.cached.name] = str(error)
        return {}
    passed_per_s = partial(_rate, pair.forwarding.name, forwarding, pair.requests, first)
    return {pair.cached.name: hits_per_s, pair.forwarding.name: passed_per_s}


def _stored(bench: Lab, pair: _Pair, first: int) -> Callable[[], float]:
    """Return what measures answers from the store, each time of a fresh process over the same folder."""

    def run() -> float:
        with pair.cached.start(bench.endpoint.base, bench.folder_of(pair.cached)) as proxy:
            return _rate(pair.cached.name, proxy, pair.requests, first)

    def again() -> float:
        calls = bench.endpoint.calls()
        rate = run()
        if bench.endpoint.calls() != calls:
            raise BenchmarkError(f"{pair.cached.name} asked the endpoint what its store holds")
        return rate

    run()
    return again


def _rate(name: str, proxy: of.Proxy, requests: int, first: int) -> float:
    load = Load(url=proxy.url, connections=_CONNECTIONS, requests=requests, first=first)
    return flawless(name, put(load)).per_second


def _timed_run(bench: Lab, folder: Path, requests: int) -> float:
    """Return the seconds from the adapter's start to its end, all requests answered."""
    began = time.perf_counter()
    with of.start_ours(of.OUR_CHAIN, bench.endpoint.base, folder) as proxy:
        outcome: Outcome = put(Load(url=proxy.url, connections=_CONNECTIONS, requests=requests))
    flawless("our adapter", outcome)
    return time.perf_counter() - began
