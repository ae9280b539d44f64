"""Faults F17 and F21 to F23 as rates, memory and descriptors: the adapter alone, under many requests."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.kit.adapters import RunningAdapter, chat, running_adapter, settings_for

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint

pytestmark = pytest.mark.slow
Measured = Callable[..., None]

MIB = 2**20


def status_of(adapter: RunningAdapter, name: str) -> int:
    """Return a number of /proc/PID/status (man 5 proc), sizes in bytes."""
    lines = Path(f"/proc/{adapter.process.pid}/status").read_text(encoding="ascii").splitlines()
    words = next(line.split()[1:] for line in lines if line.startswith(f"{name}:"))
    return int(words[0]) * (1024 if words[1:] == ["kB"] else 1)


def descriptors_of(adapter: RunningAdapter) -> int:
    return len(list(Path(f"/proc/{adapter.process.pid}/fd").iterdir()))


@contextmanager
def before(*endpoints: RunningEndpoint, folder: Path, **policy: Any) -> Iterator[RunningAdapter]:
    """Run an adapter before these endpoints, which serve one model."""
    chain = [{"name": "endpoint", "config": policy}]
    urls = [endpoint.url for endpoint in endpoints]
    with running_adapter(settings_for(folder, urls, interceptors=chain)) as adapter:
        yield adapter


def ask_all(
    adapter: RunningAdapter, count: int, at_once: int, *, share: float = 1.0, **fields: Any
) -> tuple[list[int], float]:
    """Ask so many different questions, so many at a time; return the statuses and the seconds it took.

    share: of the questions, until whose answers the seconds are counted.
    """
    local = threading.local()
    times: list[float] = []

    def ask(number: int) -> int:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        url = f"{adapter.base_url()}/chat/completions"
        body = chat(f"What is {number}?", **fields)
        answer: requests.Response = local.session.post(url, json=body, timeout=30)
        times.append(time.monotonic())
        return answer.status_code

    began = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        statuses = list(pool.map(ask, range(count)))
    return statuses, sorted(times)[round(share * count) - 1] - began


def test_f17_requests_that_hang_leave_no_thread_and_no_descriptor(
    tmp_path: Path, faulty: RunningEndpoint, measured: Measured
) -> None:
    with before(faulty, folder=tmp_path, attempt_timeout_s=0.3, max_retries=1) as adapter:
        ask_all(adapter, 40, 20)
        threads, descriptors = status_of(adapter, "Threads"), descriptors_of(adapter)
        faulty.reset(faults=[{"action": "hang"}])
        statuses, took_s = ask_all(adapter, 60, 20, user="hanging")
        assert set(statuses) == {504}
        assert took_s <= 3 * (2 * 0.3 + 0.5 + 1)
        time.sleep(0.3)
        measured(threads=status_of(adapter, "Threads"), descriptors=descriptors_of(adapter) - descriptors)
        assert status_of(adapter, "Threads") <= threads + 2
        assert descriptors_of(adapter) <= descriptors + 2


def test_f21_memory_is_bounded_by_what_is_under_way(
    tmp_path: Path, faulty: RunningEndpoint, measured: Measured
) -> None:
    at_once = 4
    with before(faulty, folder=tmp_path) as adapter:
        ask_all(adapter, 8, at_once)
        least = status_of(adapter, "VmHWM")
        faulty.reset(faults=[{"action": "huge", "size_bytes": 10 * MIB}])
        statuses, _ = ask_all(adapter, 24, at_once, user="large")
        grown = status_of(adapter, "VmHWM") - least
    assert set(statuses) == {200}
    measured(times_the_bodies=grown / (at_once * 10 * MIB))
    assert grown <= 3 * at_once * 10 * MIB


def test_f22_a_slow_answer_holds_up_no_other(
    tmp_path: Path, faulty: RunningEndpoint, measured: Measured
) -> None:
    count, at_once, usual_s, spike_s = 600, 32, 0.02, 2.0
    rule = {"match": {"share": 0.01}, "action": "latency", "latency_ms": spike_s * 1000}
    with before(faulty, folder=tmp_path) as adapter:
        usual = {"action": "latency", "latency_ms": usual_s * 1000}
        faulty.reset(faults=[usual])
        _, undisturbed_s = ask_all(adapter, count, at_once)
        faulty.reset(faults=[rule, usual])
        statuses, took_s = ask_all(adapter, count, at_once, user="again")
        spikes = faulty.stats()["faults"]["latency"] - count
    assert set(statuses) == {200}
    assert spikes >= 4
    bound_s = undisturbed_s + spikes * spike_s / at_once
    measured(undisturbed_s=undisturbed_s, took_s=took_s, spikes=spikes, bound_s=bound_s)
    assert took_s <= 1.15 * bound_s + spike_s


REPLICAS, SLOTS = 4, 4


@pytest.fixture
def replicas() -> Iterator[list[RunningEndpoint]]:
    with ExitStack() as stack:
        yield [stack.enter_context(running_endpoint(slots=SLOTS, latency_ms=100)) for _ in range(REPLICAS)]


def dies(endpoint: RunningEndpoint) -> None:
    os.kill(endpoint.pid, signal.SIGKILL)


def slows(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "latency", "latency_ms": 900}])


@pytest.mark.parametrize("happens", [dies, slows])
def test_f23_three_replicas_of_four_do_most_of_the_work(
    tmp_path: Path, replicas: list[RunningEndpoint], measured: Measured, happens: Any
) -> None:
    count, at_once, share = 480, REPLICAS * SLOTS, 0.9  # the last answers of a slow one come after all others
    with before(*replicas, folder=tmp_path) as adapter:
        _, undisturbed_s = ask_all(adapter, count, at_once, share=share)
        happens(replicas[2])
        statuses, took_s = ask_all(adapter, count, at_once, share=share, user="again")
    assert set(statuses) == {200}
    measured(throughput=undisturbed_s / took_s)
    assert undisturbed_s / took_s >= 0.70
