"""Traffic: what the last session delivered, each exchange once, and what it failed at."""

import random
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.kit.exchanges import answered, digest, failed

from evaldock_entrypoints.exchanges.segments import segment_paths
from evaldock_entrypoints.exchanges.store import Store
from evaldock_entrypoints.exchanges.traffic import SessionTraffic, percentiles, read_traffic


def ask(store: Store, number: int, ordinal: int = 0, *, latency_ms: float = 12.5) -> None:
    """Serve a request from the store, or else as if the endpoint had answered."""
    arrived = store.arrived()
    found = store.find(digest(number), ordinal)
    if found is None:
        store.add(answered(number, ordinal, latency_ms=latency_ms))
    source = found.source if found else "asked"
    store.deliver(digest(number), ordinal, source=source, arrived=arrived)


def traffic(folder: Path) -> SessionTraffic:
    found = read_traffic(folder)
    assert found is not None
    return found


def test_a_folder_without_records_has_no_traffic(tmp_path: Path) -> None:
    assert read_traffic(tmp_path / "absent") is None
    assert read_traffic(tmp_path) is None


def test_sums_are_those_of_the_delivered_exchanges(tmp_path: Path) -> None:
    with Store(tmp_path, session="first") as store:
        facts: dict[str, Any] = {"prompt_tokens": 10, "completion_tokens": 5, "served_model": "m"}
        store.add(answered(1, attempts=3, truncated=1, finish_reasons=("length", "stop"), **facts))
        store.add(answered(2, empty=2, refused=1, reasoning_tokens=4, ttft_ms=3.0, **facts))
        store.add(answered(3, is_generation=False, empty=1, finish_reasons=()))
        store.add(answered(4, empty=9))  # nobody received it
        for number in (1, 2, 3):
            store.deliver(digest(number), 0, source="asked", arrived=0)
    found = traffic(tmp_path)
    target = found.target
    assert (found.session, found.corrupt, found.lost, found.outstanding) == ("first", 0, 0, [])
    assert (target.requests, target.cached, target.retried, target.generations) == (3, 0, 1, 2)
    assert (target.truncated, target.empty, target.refused) == (1, 2, 1)
    assert (target.prompt_tokens, target.completion_tokens, target.reasoning_tokens) == (20, 10, 4)
    assert target.finish_reasons == {"length": 1, "stop": 2}
    assert target.served_models == {"m": 2}
    assert list(target.ttfts_ms) == [3.0]


def test_figures_after_a_resume_are_those_of_an_undisturbed_run(tmp_path: Path) -> None:
    times = random.Random(3).sample(range(1, 10_000), 200)
    for name, stops in (("whole", [200]), ("resumed", [70, 150, 200])):
        for session, stop in enumerate(stops):
            with Store(tmp_path / name, session=f"session {session}") as store:
                for number in range(stop):
                    ask(store, number, latency_ms=times[number])
    whole, resumed = traffic(tmp_path / "whole").target, traffic(tmp_path / "resumed").target
    assert percentiles(resumed.latencies_ms) == percentiles(whole.latencies_ms) == percentiles(times)
    assert (whole.requests, whole.cached) == (200, 0)
    assert (resumed.requests, resumed.cached) == (200, 150)


def test_each_exchange_counts_once_and_the_last_of_its_kind(tmp_path: Path) -> None:
    with Store(tmp_path, session="first") as store:
        ask(store, 1, latency_ms=1.0)
    with Store(tmp_path, session="second", reuse=False) as store:
        ask(store, 1, latency_ms=2.0)
        ask(store, 1, 1, latency_ms=3.0)
    target = traffic(tmp_path).target
    assert (target.requests, sorted(target.latencies_ms)) == (2, [2.0, 3.0])


def test_only_the_last_session_counts(tmp_path: Path) -> None:
    with Store(tmp_path, session="first") as store:
        ask(store, 1)
        store.fail(failed(9), arrived=store.arrived())
    with Store(tmp_path, session="second") as store:
        ask(store, 2)
    with Store(tmp_path, session="third"):
        pass  # started, and asked for nothing
    found = traffic(tmp_path)
    assert (found.session, found.target.requests, found.outstanding) == ("second", 1, [])


def test_auxiliary_models_are_counted_apart(tmp_path: Path) -> None:
    with Store(tmp_path, session="first") as store:
        ask(store, 1)
        store.add(replace(answered(2, empty=1), role="judge"))
        store.deliver(digest(2), 0, source="asked", arrived=store.arrived())
        store.fail(replace(failed(3), role="judge"), arrived=store.arrived())
    found = traffic(tmp_path)
    assert (found.target.requests, found.target.empty) == (1, 0)
    assert (found.roles["judge"].requests, found.roles["judge"].empty) == (1, 1)
    assert [failure.digest for failure in found.outstanding] == [digest(3)]


def test_an_endpoint_that_never_answered_is_seen(tmp_path: Path) -> None:
    with Store(tmp_path, session="first") as store:
        ask(store, 1)
    with Store(tmp_path, session="second") as store:
        store.fail(failed(2, error="connect", status=502), arrived=store.arrived())
    found = traffic(tmp_path)
    assert (found.session, found.target.requests) == ("second", 0)
    (failure,) = found.outstanding
    assert (failure.error, failure.status, failure.message) == ("connect", 502, "busy")


@pytest.mark.parametrize(
    ("story", "outstanding"),
    [
        (["arrive 1", "fail 1"], 1),
        (["arrive 1", "fail 1", "arrive 2", "deliver 2"], 0),
        (["arrive 1", "arrive 2", "fail 1", "deliver 2"], 1),  # 2 came before 1 had failed: a repeat
        (["arrive 1", "fail 1", "arrive 2", "fail 2", "arrive 3", "deliver 3"], 0),
        (["arrive 1", "fail 1", "arrive 2", "fail 2"], 1),  # one request that was tried twice
        (["arrive 1", "arrive 2", "fail 1", "fail 2", "arrive 3", "deliver 3"], 1),
        (["arrive 1", "arrive 2", "fail 1", "fail 2", "arrive 3", "arrive 4", "deliver 4", "deliver 3"], 0),
        # 3 came between the failures and can stand for the first only, 4 for either: both are made good.
        (["arrive 1", "arrive 2", "fail 1", "arrive 3", "fail 2", "arrive 4", "deliver 4", "deliver 3"], 0),
    ],
)
def test_failures_are_made_good_by_later_requests_only(
    tmp_path: Path, story: list[str], outstanding: int
) -> None:
    arrivals: dict[str, int] = {}
    with Store(tmp_path, session="first") as store:
        for event in story:
            what, name = event.split()
            if what == "arrive":
                arrivals[name] = store.arrived()
            elif what == "fail":
                store.fail(failed(1), arrived=arrivals[name])
            else:
                store.add(answered(1, int(name)))
                store.deliver(digest(1), int(name), source="asked", arrived=arrivals[name])
        ask(store, 2)
    assert len(traffic(tmp_path).outstanding) == outstanding


def test_the_failure_of_one_request_is_not_made_good_by_another(tmp_path: Path) -> None:
    with Store(tmp_path, session="first") as store:
        store.fail(failed(1), arrived=store.arrived())
        ask(store, 2)
    assert [failure.digest for failure in traffic(tmp_path).outstanding] == [digest(1)]


def test_a_delivered_exchange_that_was_damaged_later_is_said_to_be_lost(tmp_path: Path) -> None:
    with Store(tmp_path, session="first") as store:
        ask(store, 1)
        ask(store, 2)
    (segment,) = segment_paths(tmp_path)
    content = bytearray(segment.read_bytes())
    content[20] ^= 1
    segment.write_bytes(content)
    found = traffic(tmp_path)
    assert (found.target.requests, found.lost, found.corrupt) == (1, 1, 1)


def test_a_body_that_was_damaged_is_counted_once_and_its_figures_stay(tmp_path: Path) -> None:
    with Store(tmp_path, session="first") as store:
        for number in range(3):
            ask(store, number)
        store.fail(failed(8), arrived=store.arrived())
    (segment,) = segment_paths(tmp_path)
    content = bytearray(segment.read_bytes())
    for body in (b'{"answer":1}', b'{"error":{}}'):
        content[content.index(body)] ^= 1
    segment.write_bytes(content)
    found = traffic(tmp_path)
    assert (found.target.requests, found.lost, found.corrupt) == (3, 0, 2)
    with Store(tmp_path, session="second") as store:
        assert [store.find(digest(number), 0) is None for number in range(3)] == [False, True, False]
        ask(store, 1)
    found = traffic(tmp_path)
    assert (found.target.requests, found.lost, found.corrupt) == (1, 0, 2)


@pytest.mark.parametrize("size", [1, 2, 3, 101, 1000])
def test_percentiles_are_those_of_numpy(size: int) -> None:
    values = [random.Random(size).expovariate(0.01) for _ in range(size)]
    found = percentiles(values)
    assert found is not None
    wanted = np.percentile(values, [50, 90, 95, 99, 100])
    assert list(found) == ["p50", "p90", "p95", "p99", "max"]
    assert list(found.values()) == pytest.approx(list(wanted))
    assert found["max"] == max(values)
    assert statistics.median(values) == pytest.approx(found["p50"])


def test_there_are_no_percentiles_of_nothing() -> None:
    assert percentiles([]) is None


@pytest.mark.parametrize(
    ("answers", "repeats", "outstanding"), [(2, 3, 1), (3, 3, 0), (1, 3, 1), (1, 1, 0), (6, 3, 0)]
)
def test_a_failure_is_made_good_only_where_every_repeat_has_an_answer(
    tmp_path: Path, answers: int, repeats: int, outstanding: int
) -> None:
    with Store(tmp_path, session="first") as store:
        store.fail(failed(1), arrived=store.arrived())
        for ordinal in range(answers):
            ask(store, 1, ordinal)
    found = read_traffic(tmp_path, repeats=repeats)
    assert found is not None
    assert len(found.outstanding) == outstanding
