"""Several addresses of one model: who is asked, and who not."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.kit.raw_server import always, raw_server
from tests.kit.upstreams import asked, asking, in_turn, terms, upstream_at

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock_entrypoints.adapter.upstream.reply import Reply

pytestmark = pytest.mark.slow  # starts processes, or waits

ONCE = terms(attempt_s=5, retries=0)


@pytest.fixture(scope="module")
def four() -> Iterator[list[RunningEndpoint]]:
    with ExitStack() as stack:
        yield [stack.enter_context(running_endpoint(latency_ms=20)) for _ in range(4)]


@pytest.fixture
def replicas(four: list[RunningEndpoint]) -> list[RunningEndpoint]:
    """Four replicas without faults that have seen nothing."""
    for each in four:
        each.reset(faults=[])
    return four


def asked_in_turn(replicas: list[RunningEndpoint], parallel: int, count: int) -> tuple[list[Reply], float]:
    """Return the replies, and how many came per second."""

    async def ask() -> tuple[list[Reply], float]:
        async with upstream_at(*(each.url for each in replicas)) as upstream:
            began = time.monotonic()
            replies = await in_turn(parallel, count, lambda n: upstream.ask(asking(str(n)), ONCE))
            return replies, count / (time.monotonic() - began)

    return asyncio.run(ask())


def test_replicas_share_the_work_alike(replicas: list[RunningEndpoint]) -> None:
    asked_in_turn(replicas, 8, 80)
    assert all(17 <= each.stats()["requests"] <= 23 for each in replicas)


def answered_per_s(replicas: list[RunningEndpoint], seconds: float) -> float:
    """Return the answers per second while eight requests are out."""

    async def ask() -> float:
        count = 0
        async with upstream_at(*(each.url for each in replicas)) as upstream:

            async def work() -> None:
                nonlocal count
                while True:
                    assert (await upstream.ask(asking(), ONCE)).kind is None
                    count += 1

            await asyncio.wait([asyncio.create_task(work()) for _ in range(8)], timeout=seconds)
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
        return count / seconds

    return asyncio.run(ask())


def test_replica_that_is_ten_times_slower_costs_its_own_share(replicas: list[RunningEndpoint]) -> None:
    for each in replicas:
        each.reset(faults=[{"action": "latency", "latency_ms": 20}])
    healthy_per_s = answered_per_s(replicas, 0.8)
    replicas[0].reset(faults=[{"action": "latency", "latency_ms": 380}])
    slow_per_s = answered_per_s(replicas, 1.2)
    assert slow_per_s >= 0.70 * healthy_per_s
    assert replicas[0].stats()["requests"] < 0.3 * replicas[1].stats()["requests"]


@pytest.mark.parametrize("status", [500, 503])
def test_replica_that_fails_is_passed_over_at_once(replicas: list[RunningEndpoint], status: int) -> None:
    replicas[2].reset(faults=[{"action": "status", "status": status}])

    async def ask() -> list[Reply]:
        async with upstream_at(*(each.url for each in replicas)) as upstream:
            return await in_turn(4, 80, lambda n: upstream.ask(asking(str(n)), terms(retries=1)))

    assert {reply.kind for reply in asyncio.run(ask())} == {None}
    assert replicas[2].stats()["requests"] <= 8


def test_replica_killed_in_mid_run_costs_no_request(replicas: list[RunningEndpoint]) -> None:
    async def ask() -> tuple[list[Reply], float]:
        with running_endpoint(latency_ms=20) as doomed:
            urls = [doomed.url, *(each.url for each in replicas[1:])]
            async with upstream_at(*urls) as upstream:
                asks = [asyncio.create_task(upstream.ask(asking(str(n)), ONCE)) for n in range(40)]
                await asyncio.sleep(0.015)
                os.kill(doomed.pid, signal.SIGKILL)
                began = time.monotonic()
                replies = await asyncio.gather(*asks)
                replies += await in_turn(8, 80, lambda n: upstream.ask(asking(str(n)), ONCE))
                return replies, time.monotonic() - began

    replies, took_s = asyncio.run(ask())
    assert {reply.kind for reply in replies} == {None}
    assert max(reply.attempts for reply in replies) == 2
    assert took_s < 2


def test_replica_that_comes_back_is_asked_again() -> None:
    async def ask() -> int:
        with running_endpoint() as steady, running_endpoint() as flaky:
            flaky.reset(faults=[{"action": "status", "status": 500, "times": 3}])
            async with upstream_at(flaky.url, steady.url) as upstream:
                await in_turn(2, 20, lambda n: upstream.ask(asking(str(n)), terms()))
                flaky.reset(faults=[])
                await asyncio.sleep(1.1)
                await in_turn(2, 20, lambda n: upstream.ask(asking(str(n)), terms()))
                return flaky.stats()["requests"]

    assert asyncio.run(ask()) >= 5


def test_all_replicas_down_is_one_endpoint_down() -> None:
    reply = asked("http://127.0.0.1:1", "http://127.0.0.1:2", on=terms(total_s=0.3))
    assert reply.kind == "connect"
    assert reply.attempts > 3


def test_request_refused_for_what_it_is_goes_to_no_other_replica() -> None:
    refusing = always(400, {"error": {"message": "no"}})
    with raw_server(refusing) as first, raw_server(refusing) as second:
        reply = asked(first, second)
    assert (reply.status, reply.attempts) == (400, 1)
