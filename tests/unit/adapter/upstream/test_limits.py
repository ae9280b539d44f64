"""How many requests are out at a time, and how many per minute."""

import asyncio
import heapq
import math
import resource
import subprocess
import sys
import time
from itertools import pairwise
from typing import Any

import pytest
from tests.kit.upstreams import asking, in_turn, terms, upstream_at

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock_entrypoints.adapter.upstream.descriptors import connection_room
from evaldock_entrypoints.adapter.upstream.gate import Gate
from evaldock_entrypoints.adapter.upstream.limits import AdaptiveLimit, YieldingLimit
from evaldock_entrypoints.adapter.upstream.pace import Bucket
from evaldock_entrypoints.adapter.upstream.reply import Reply

pytestmark = pytest.mark.slow  # starts processes, or waits

LONG = terms(attempt_s=30, retries=50, total_s=60)


def test_concurrency_is_bounded_over_all_requests(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "latency", "latency_ms": 20}])

    async def ask() -> list[Reply]:
        async with upstream_at(endpoint.url, max_concurrency=3) as upstream:
            asks = [asyncio.create_task(upstream.ask(asking(str(n)), LONG)) for n in range(30)]
            await asyncio.sleep(0.05)
            assert (upstream.in_flight, upstream.limit) == (3, 3)
            assert upstream.queued > 15
            return await asyncio.gather(*asks)

    assert {reply.kind for reply in asyncio.run(ask())} == {None}
    assert endpoint.stats()["max_concurrency"] == 3


def test_waiting_for_a_turn_counts_in_no_timeout(endpoint: RunningEndpoint) -> None:
    failing = {"action": "status", "status": 500, "match": {"first_n": 1}}
    endpoint.reset(faults=[{"action": "latency", "latency_ms": 100}, failing])

    async def ask() -> list[Reply]:
        async with upstream_at(endpoint.url, max_concurrency=1) as upstream:
            short = terms(attempt_s=0.4, retries=1, total_s=0.4)
            return await asyncio.gather(*(upstream.ask(asking(str(n)), short) for n in range(5)))

    assert {(reply.kind, reply.attempts) for reply in asyncio.run(ask())} == {(None, 2)}


def test_turns_are_taken_in_order_and_those_that_were_out_before_come_first() -> None:
    async def run() -> list[int]:
        gate, out = Gate(YieldingLimit(1)), []
        assert gate.try_enter()

        async def visit(number: int, *, is_first: bool = True) -> None:
            await gate.enter(is_first=is_first)
            out.append(number)
            gate.leave()

        visits = [asyncio.create_task(visit(number)) for number in range(5)]
        visits.append(asyncio.create_task(visit(9, is_first=False)))
        await asyncio.sleep(0)
        visits[2].cancel()
        gate.leave()
        await asyncio.gather(*visits, return_exceptions=True)
        assert (gate.in_flight, gate.waiting) == (0, 0)
        return out

    assert asyncio.run(run()) == [9, 0, 1, 3, 4]


def test_turn_given_to_one_that_gave_up_goes_to_the_next() -> None:
    async def run() -> None:
        gate = Gate(YieldingLimit(1))
        assert gate.try_enter()
        first, second = (asyncio.create_task(gate.enter(is_first=True)) for _ in range(2))
        await asyncio.sleep(0)
        gate.leave()
        first.cancel()
        await asyncio.wait_for(second, 1)
        assert gate.in_flight == 1

    asyncio.run(run())


def test_limit_yields_once_per_round_trip_and_comes_back() -> None:
    limit = YieldingLimit(1000)
    for _ in range(50):
        limit.refused(sent_at=1.0, now=2.0, in_flight=100)
    assert limit.value == 80
    limit.refused(sent_at=2.5, now=3.0, in_flight=80)
    assert limit.value == 64
    for _ in range(64):
        limit.answered(sent_at=4.0, now=5.0, in_flight=64)
    assert limit.value == 65
    for now in range(10, 60):
        limit.refused(sent_at=now, now=now + 0.5, in_flight=int(limit.value))
    assert limit.value == 1
    for _ in range(1_000_000):
        limit.answered(sent_at=100, now=100, in_flight=1)
    assert limit.value == 1000


@pytest.mark.parametrize("policy", [{}, {"adaptive": True}], ids=str)
def test_endpoint_that_takes_ten_at_a_time_is_not_pressed(policy: dict[str, Any]) -> None:
    rule = {"action": "status", "status": 429, "match": {"in_flight_above": 10}}
    with running_endpoint(faults=[rule], latency_ms=5) as endpoint:

        async def ask() -> list[Reply]:
            async with upstream_at(endpoint.url, **policy) as upstream:
                return await in_turn(40, 400, lambda n: upstream.ask(asking(str(n)), LONG))

        replies = asyncio.run(ask())
        assert {reply.kind for reply in replies} == {None}
        refused = endpoint.stats()["statuses"].get("429", 0)
    # about 125: each time it finds the edge again costs a few. Without yielding more than 700, and most fail.
    assert refused < 250


def test_adaptive_limit_ends_near_the_number_of_slots() -> None:
    slots, latency_ms = 12, 40
    with running_endpoint(slots=slots, latency_ms=latency_ms) as endpoint:

        async def ask() -> tuple[int, float]:
            async with upstream_at(endpoint.url, adaptive=True) as upstream:
                await in_turn(50, 250, lambda n: upstream.ask(asking(str(n)), LONG))
                began = time.monotonic()
                await in_turn(50, 200, lambda n: upstream.ask(asking(str(n)), LONG))
                return upstream.limit, 200 / (time.monotonic() - began)

        limit, per_s = asyncio.run(ask())
    assert 0.8 * slots <= limit <= 1.5 * slots
    assert per_s > 0.7 * slots / latency_ms * 1000  # 0.9 and more on a quiet machine; this one is shared


@pytest.mark.parametrize("slots", [1, 3, 7, 12, 20, 48, 100, 300])
def test_adaptive_limit_finds_a_full_engine_and_follows_it(slots: int) -> None:
    limit = AdaptiveLimit(10_000)
    served = simulated(limit, slots, seconds=60)
    # an eighth less while a trial is under way
    assert 0.8 * slots <= limit.value <= max(1.35 * slots, 16)
    assert sum(served[30:]) / 30 >= 0.9 * slots
    simulated(limit, 4 * slots, seconds=200, start=1000.0)
    assert limit.value >= 2.5 * slots
    simulated(limit, slots, seconds=200, start=2000.0)
    assert limit.value <= max(2.0 * slots, 16)


def simulated(limit: AdaptiveLimit, slots: int, *, seconds: int, start: float = 0.0) -> list[int]:
    """Run an engine with slots of one second per request, under demand without end; return answers by second.

    A request waits for the first free slot; the clock is told, not waited for.
    """
    free = [start] * slots
    under_way: list[tuple[float, float]] = []  # when a request ends, when it was sent
    now, counts = start, [0] * (seconds + 1)
    while now < start + seconds:
        while len(under_way) < limit.value:
            ends = max(now, free[0]) + 1.0
            heapq.heapreplace(free, ends)
            heapq.heappush(under_way, (ends, now))
        now, sent_at = heapq.heappop(under_way)
        counts[min(int(now - start), seconds)] += 1
        limit.answered(sent_at=sent_at, now=now, in_flight=len(under_way) + 1)
    return counts[:-1]


def test_adaptive_limit_learns_nothing_without_demand() -> None:
    limit = AdaptiveLimit(1000)
    for now in range(10_000):
        limit.answered(sent_at=now, now=now + 1, in_flight=7)
    assert limit.value == 8


def test_engine_that_slows_down_smoothly_is_filled_to_where_it_pays() -> None:
    """Throughput 100 x n / (n + 32): half of its best at 32, four fifths at 128."""
    limit, now = AdaptiveLimit(4096), 0.0
    for _ in range(60_000):
        now += (limit.value + 32) / 100 / limit.value
        latency_s = (limit.value + 32) / 100
        limit.answered(sent_at=now - latency_s, now=now, in_flight=int(limit.value))
    assert 16 <= limit.value <= 256


def test_requests_per_minute(endpoint: RunningEndpoint) -> None:
    async def ask() -> float:
        async with upstream_at(endpoint.url, requests_per_minute=1200) as upstream:
            began = time.monotonic()
            await asyncio.gather(*(upstream.ask(asking(str(n)), LONG) for n in range(31)))
            return time.monotonic() - began

    assert 0.5 <= asyncio.run(ask()) < 0.9  # 20 a second, the first 20 at once


def test_tokens_per_minute_are_corrected_by_what_was_used(endpoint: RunningEndpoint) -> None:
    async def ask(limit: int) -> float:
        async with upstream_at(endpoint.url, tokens_per_minute=60_000) as upstream:
            began = time.monotonic()
            for number in range(8):
                await upstream.ask(asking(str(number), max_tokens=limit), LONG)
            return time.monotonic() - began

    # 1,000 a second; each answer uses about 50, whatever it was allowed
    assert asyncio.run(ask(10)) < 0.3
    assert asyncio.run(ask(600)) < 0.9


def test_bucket_lets_no_more_through_in_any_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("evaldock_entrypoints.adapter.upstream.pace.time.monotonic", lambda: now)
    bucket = Bucket(600)
    starts = [now + bucket.take(1) for _ in range(50)]
    now += 60
    starts += [now + bucket.take(1) for _ in range(50)]
    assert all(a <= b for a, b in pairwise(starts))
    for start in starts:
        assert sum(start <= other < start + 1 for other in starts) <= 21  # one second's worth may have waited


def test_few_descriptors_mean_few_connections_and_no_failure(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "latency", "latency_ms": 10}])
    program = """
import asyncio, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from tests.kit.upstreams import asking, terms, upstream_at
async def ask():
    async with upstream_at(sys.argv[1]) as upstream:
        asks = (upstream.ask(asking(str(n)), terms(attempt_s=30, total_s=60)) for n in range(200))
        replies = await asyncio.gather(*asks)
        print({reply.kind for reply in replies}, upstream.limit)
asyncio.run(ask())
"""
    argv = [sys.executable, "-c", program, endpoint.url]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout
    kinds, limit = said.rsplit(maxsplit=1)
    assert kinds == "{None}"
    assert 4 <= int(limit) <= 24
    assert endpoint.stats()["max_concurrency"] <= 24


def test_room_follows_the_limit_of_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert connection_room() > 100
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    assert 2 <= connection_room() <= 24
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert math.isfinite(connection_room())
