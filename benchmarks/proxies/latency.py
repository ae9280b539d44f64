"""G2: how much longer one request takes because of the proxy, and the first part of a streamed answer.

The endpoint thinks before it answers, as endpoints do: a machine that had time to fall asleep wakes up more
slowly, for every process on the way.
"""

from functools import partial
from pathlib import Path

from benchmarks.proxies import contenders as of
from benchmarks.proxies.cost import OURS, OURS_FORWARDING, RAW
from benchmarks.proxies.lab import DIRECT, Effort, Lab, alternate, flawless, lab, load_on
from benchmarks.proxies.load import Load
from benchmarks.proxies.table import Goal, Table

_HAPROXY = of.haproxy()
_PEERS = (
    _HAPROXY,
    of.nemo_0_3_0("forwarding", of.forwarding_0_3_0),
    of.nemo_0_3_0("equivalent chain", of.nemo_0_3_0_chain),
    of.nemo_0_2_8("forwarding", of.forwarding_0_2_8),
    of.nemo_0_2_8("equivalent chain", of.nemo_0_2_8_chain),
)
_COLUMNS = ("contender", "p50 ms", "added ms", "÷ haproxy", "first part ms", "added ms", "÷ haproxy")
_BOUND = 3.0
_THINK_MS = 5


def added(folder: Path, effort: Effort) -> Table:
    """Measure all contenders with one connection, whole answers and streamed ones."""
    with lab(folder, effort, "--think-ms", str(_THINK_MS)) as bench:
        contenders = (RAW, OURS_FORWARDING, OURS, *(_PEERS if effort.peers else ()))
        with bench.all_of(contenders) as running:
            proxies = {DIRECT: bench.direct(), **running}
            whole = _p50s(bench, proxies, stream=False)
            parts = _p50s(bench, proxies, stream=True)
    rows = [
        (name, *_cells(whole, name), *(_cells(parts, name) if name != OURS.name else ("whole", "-", "-")))
        for name in whole
    ]
    goals = [
        Goal(what="latency that forwarding adds ÷ haproxy's", value=_of_haproxy(whole), bound=_BOUND),
        Goal(what="the same of the first part of a stream", value=_of_haproxy(parts), bound=_BOUND),
    ]
    return Table(
        title=f"G2: latency added, one connection, an endpoint that takes {_THINK_MS} ms",
        columns=_COLUMNS,
        rows=rows,
        goals=goals,
        baseline=_baseline(whole),
        notes=bench.notes(),
    )


def _p50s(bench: Lab, proxies: dict[str, of.Proxy], *, stream: bool) -> dict[str, list[float]]:
    """Return each contender's p50 in ms, best first; with stream: of the first part."""
    measures = {name: partial(_p50, bench, name, proxy, stream) for name, proxy in proxies.items()}
    return {name: sorted(values) for name, values in alternate(measures, bench.effort.rounds).items()}


def _p50(bench: Lab, name: str, proxy: of.Proxy, stream: bool) -> float:
    load = Load(url="", connections=1, seconds=bench.effort.seconds, stream=stream)
    outcome = flawless(name, load_on(proxy, load))
    return outcome.first_part_p50_ms if stream else outcome.p50_ms


def _cells(p50s: dict[str, list[float]], name: str) -> tuple[str, str, str]:
    added_ms = p50s[name][0] - p50s[DIRECT][0]
    haproxy_ms = p50s[_HAPROXY.name][0] - p50s[DIRECT][0] if _HAPROXY.name in p50s else None
    ratio = f"{added_ms / haproxy_ms:.1f}" if haproxy_ms and name != DIRECT else "-"
    return f"{p50s[name][0]:.3f}", f"{added_ms:.3f}" if name != DIRECT else "-", ratio


def _baseline(p50s: dict[str, list[float]]) -> list[float]:
    """Return what haproxy adds, best first: less on a machine that others keep awake."""
    direct = p50s[DIRECT][0]
    return [value - direct for value in p50s.get(_HAPROXY.name, p50s[RAW.name])]


def _of_haproxy(p50s: dict[str, list[float]]) -> float | None:
    if _HAPROXY.name not in p50s or OURS_FORWARDING.name not in p50s:
        return None
    direct = p50s[DIRECT][0]
    return (p50s[OURS_FORWARDING.name][0] - direct) / (p50s[_HAPROXY.name][0] - direct)
