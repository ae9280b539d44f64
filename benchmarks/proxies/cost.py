"""G1: processor time per request with 32 connections, and the same with large answers."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.proxies import contenders as of
from benchmarks.proxies.lab import Effort, Lab, alternate, flawless, lab, load_on
from benchmarks.proxies.load import Load
from benchmarks.proxies.table import Goal, Table

RAW, OURS = of.raw(), of.ours("default chain", of.OUR_CHAIN)
OURS_FORWARDING = of.ours("forwarding", ())
_NEW = of.nemo_0_3_0("equivalent chain", of.nemo_0_3_0_chain)
_OLD = of.nemo_0_2_8("equivalent chain", of.nemo_0_2_8_chain)
_OURS = (RAW, of.raw(edits=True), OURS, OURS_FORWARDING)
_PEERS = (
    of.haproxy(),
    _NEW,
    of.nemo_0_3_0("forwarding", of.forwarding_0_3_0),
    _OLD,
    of.nemo_0_2_8("forwarding", of.forwarding_0_2_8),
)
_LARGE_PEERS = (_NEW, of.nemo_0_3_0("forwarding", of.forwarding_0_3_0))
COLUMNS = ("contender", "least CPU µs per request", "spread µs", "÷ plain")


def requests(folder: Path, effort: Effort) -> Table:
    """Measure all contenders with answers of 1 kB."""
    with lab(folder, effort) as bench:
        best = _measured(bench, (*_OURS, *(_PEERS if effort.peers else ())))
    ours, raw = best.get(OURS.name), best.get(RAW.name)
    goals = [Goal(what="default chain ÷ plain ASGI + aiohttp", value=_ratio(ours, raw), bound=1.7)]
    if effort.peers:
        goals += [
            Goal(
                what="default chain ÷ NeMo Evaluator 0.3.0's",
                value=_ratio(ours, best.get(_NEW.name)),
                bound=0.60,
            ),
            Goal(
                what="default chain ÷ NeMo Evaluator 0.2.8's",
                value=_ratio(ours, best.get(_OLD.name)),
                bound=0.15,
            ),
        ]
    return _table("G1: processor time per request, 32 connections, 1.9 kB body", best, goals, bench)


def large_answers(folder: Path, effort: Effort) -> Table:
    """Measure some contenders with answers of 170 kB, as log-probabilities make them."""
    with lab(folder, effort, "--answer", "logprobs") as bench:
        best = _measured(bench, (RAW, OURS, OURS_FORWARDING, *(_LARGE_PEERS if effort.peers else ())))
    return _table("G1, large: the same with answers of 170 kB (log-probabilities)", best, [], bench)


def _measured(bench: Lab, contenders: Sequence[of.Contender]) -> dict[str, list[float]]:
    """Return each contender's CPU µs per request, best first."""
    with bench.all_of(contenders) as proxies:
        measures = {name: partial(_cpu_us, bench.effort, name, proxy) for name, proxy in proxies.items()}
        return {name: sorted(values) for name, values in alternate(measures, bench.effort.rounds).items()}


def _cpu_us(effort: Effort, name: str, proxy: of.Proxy) -> float:
    before_s = proxy.process.cpu_s()
    outcome = flawless(name, load_on(proxy, Load(url="", connections=32, seconds=effort.seconds)))
    time.sleep(effort.settle_s)
    return (proxy.process.cpu_s() - before_s) / outcome.sent * 1e6


def _ratio(one: list[float] | None, other: list[float] | None) -> float | None:
    return one[0] / other[0] if one and other else None


def _table(title: str, best: dict[str, list[float]], goals: Sequence[Goal], bench: Lab) -> Table:
    raw = best[RAW.name]
    rows = [
        (name, f"{values[0]:.0f}", f"{values[-1] - values[0]:.0f}", f"{values[0] / raw[0]:.2f}")
        for name, values in best.items()
    ]
    return Table(title=title, columns=COLUMNS, rows=rows, goals=goals, baseline=raw, notes=bench.notes())
