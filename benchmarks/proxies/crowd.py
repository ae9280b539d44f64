"""G3: 1,024 connections at once against an endpoint that takes 200 ms."""

from functools import partial
from pathlib import Path

from benchmarks.proxies import contenders as of
from benchmarks.proxies.cost import OURS, OURS_FORWARDING, RAW
from benchmarks.proxies.lab import DIRECT, Effort, Lab, alternate, lab, load_on
from benchmarks.proxies.load import Load, Outcome
from benchmarks.proxies.table import Goal, Table

_LATENCY_S = 0.2
_PEERS = (
    of.nemo_0_3_0("forwarding", of.forwarding_0_3_0),
    of.nemo_0_3_0("equivalent chain", of.nemo_0_3_0_chain),
    of.nemo_0_2_8("forwarding", of.forwarding_0_2_8),
    of.nemo_0_2_8("equivalent chain", of.nemo_0_2_8_chain),
)
_COLUMNS = ("contender", "requests/s", "of the bound", "p50 ms", "p99 ms", "errors", "peak memory MB")


def crowd(folder: Path, effort: Effort) -> Table:
    """Measure all contenders; a row is that of a contender's best round, errors are of all rounds."""
    bound = effort.busy_connections / _LATENCY_S
    contenders = (RAW, OURS_FORWARDING, OURS, *(_PEERS if effort.peers else ()))
    with (
        lab(folder, effort, "--latency-ms", str(_LATENCY_S * 1000)) as bench,
        bench.all_of(contenders) as running,
    ):
        proxies = {DIRECT: bench.direct(), **running}
        measures = {name: partial(_outcome, bench, proxy) for name, proxy in proxies.items()}
        outcomes = alternate(measures, effort.rounds)
        memory = {name: proxy.process.peak_memory_mb() for name, proxy in proxies.items()}
    best = {name: max(turns, key=lambda one: one.per_second) for name, turns in outcomes.items()}
    errors = {name: sum(turn.errors for turn in turns) for name, turns in outcomes.items()}
    rows = [_row(name, one, bound, errors[name], memory[name]) for name, one in best.items()]
    return Table(
        title=f"G3: {effort.busy_connections:,} connections, an endpoint that takes 200 ms",
        columns=_COLUMNS,
        rows=rows,
        goals=_goals(best.get(OURS.name), bound, errors.get(OURS.name), memory.get(OURS.name)),
        baseline=sorted((one.per_second for one in outcomes[RAW.name]), reverse=True),
        notes=bench.notes(),
    )


def _outcome(bench: Lab, proxy: of.Proxy) -> Outcome:
    load = Load(
        url="",
        connections=bench.effort.busy_connections,
        seconds=bench.effort.busy_seconds,
        warm_up_s=bench.effort.busy_warm_up_s,
        spread_s=_LATENCY_S,
    )
    return load_on(proxy, load)


def _row(name: str, one: Outcome, bound: float, errors: int, memory_mb: float) -> tuple[str, ...]:
    share = f"{one.per_second / bound:.2f}"
    return (
        name,
        f"{one.per_second:,.0f}",
        share,
        f"{one.p50_ms:.0f}",
        f"{one.p99_ms:.0f}",
        f"{errors}",
        f"{memory_mb:.0f}",
    )


def _goals(one: Outcome | None, bound: float, errors: int | None, memory_mb: float | None) -> list[Goal]:
    share = one.per_second / bound if one else None
    tail = one.p99_ms / one.p50_ms if one else None
    return [
        Goal(what="default chain: requests/s ÷ the bound", value=share, bound=0.90, at_least=True),
        Goal(what="default chain: p99 ÷ p50", value=tail, bound=2.0),
        Goal(what="default chain: errors", value=errors, bound=0),
        Goal(what="default chain: peak memory MB", value=memory_mb, bound=150),
    ]
