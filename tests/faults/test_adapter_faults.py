"""Faults F6, F11, F16, F21 and F23, killed runs and dishonest harnesses: adapter and toy in containers."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container
from tests.kit.fault_runs import (
    ITEMS,
    SHARE,
    Ran,
    asked,
    document,
    journeys,
    run_plan,
    run_toy,
    sabotage,
)
from tests.kit.ports import free_port
from tests.kit.toy import Silent, start_in_background, toy_plan

from evaldock.plan import Limits
from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock_entrypoints.contract.errors import ExecutionError, ExitCode

pytestmark = [pytest.mark.containers, pytest.mark.usefixtures("engine_host")]
Measured = Callable[..., None]

LATENCY_MS = 200
SLOW = {"action": "latency", "latency_ms": LATENCY_MS}
FSYNC_S = 1.0
MOST_LOST = round(FSYNC_S * 1000 / LATENCY_MS) + 1  # of the last second, and the one under way


@pytest.fixture
def container(client: docker.DockerClient) -> Callable[[str], Container]:
    """Find a container of the run by the end of its name."""

    def find(end: str) -> Container:
        found = client.containers.list(filters={"label": "io.evaldock.run=toy"})
        return next(one for one in found if str(one.name).endswith(end))

    return find


def adapter_pid(container: Container) -> int:
    """Return the adapter's process, below the container's init, as this host numbers it."""
    top = container.top()
    column = top["Titles"].index("PID")
    numbers = [int(row[column]) for row in top["Processes"]]
    return next(number for number in numbers if b"/commands/adapter" in command_line(number))


def command_line(number: int) -> bytes:
    return Path(f"/proc/{number}/cmdline").read_bytes()


def kill_adapter(container: Container) -> None:
    os.kill(adapter_pid(container), signal.SIGKILL)


def test_f6_a_killed_adapter_ends_the_run_at_once_and_the_next_start_goes_on(
    tmp_path: Path,
    faulty: RunningEndpoint,
    undisturbed: Ran,
    container: Callable[[str], Container],
    measured: Measured,
) -> None:
    faulty.reset(faults=[SLOW])
    with sabotage(faulty, after=8, act=lambda: kill_adapter(container("-adapter"))) as times:
        ran = run_toy(tmp_path, faulty.url)
    ended_s = time.monotonic() - times[0]
    assert ended_s <= 5
    assert isinstance(ran.error, ExecutionError)
    assert "the adapter ended by itself (was killed by SIGKILL)" in ran.said
    assert ran.code is ExitCode.EXECUTION
    before = asked(faulty)
    faulty.reset(faults=[])
    again = run_toy(tmp_path, faulty.url)
    assert again.answers() == undisturbed.answers()
    twice = [item for item in asked(faulty) if item in before]
    measured(ended_s=ended_s, lost=len(twice), answered_before=len(before))
    assert len(twice) <= MOST_LOST
    assert again.metrics["cached"] == len(before) - len(twice)


@pytest.mark.parametrize("role", ["adapter", "harness"])
def test_f11_with_64_descriptors_a_run_is_slower_and_whole(
    tmp_path: Path, faulty: RunningEndpoint, undisturbed: Ran, role: str
) -> None:
    plan = toy_plan(tmp_path, faulty.url, "parallel", over=document(params={"repeats": 10}))
    few = Limits(open_files=64)
    assert plan.adapter is not None
    if role == "adapter":
        plan = replace(plan, adapter=replace(plan.adapter, unit=replace(plan.adapter.unit, limits=few)))
    else:
        (one,) = plan.evaluations
        units = tuple(replace(unit, limits=few) for unit in one.units)
        plan = replace(plan, evaluations=(replace(one, units=units),))
    ran = run_plan(plan)
    assert ran.code is ExitCode.COMPLETE, ran.said
    assert ran.score == (SHARE, ITEMS)  # repeats of an item count as one
    assert ran.results["completeness"]["scored"] == 10 * ITEMS
    assert ran.answers() == undisturbed.answers()
    assert set(asked(faulty).values()) == {10}


def test_f16_an_endpoint_that_goes_away_for_a_while_is_waited_for(
    tmp_path: Path, table: Path, undisturbed: Ran
) -> None:
    port = free_port()
    with ExitStack() as stack:
        first = stack.enter_context(
            running_endpoint(answers=[table], share=SHARE, port=port, latency_ms=LATENCY_MS)
        )

        def again() -> None:
            stack.enter_context(
                running_endpoint(answers=[table], share=SHARE, port=port, latency_ms=LATENCY_MS)
            )

        def go_away() -> None:
            os.kill(first.pid, signal.SIGKILL)
            threading.Timer(4.0, again).start()

        events = Silent()
        with sabotage(first, after=5, act=go_away):
            ran = run_toy(tmp_path, first.url, events=events)
    assert ran.code is ExitCode.COMPLETE, ran.said
    assert ran.answers() == undisturbed.answers()
    assert events.steps.count("waiting for endpoint") == 1
    assert "the endpoint answers" in events.steps


def test_f21_answers_of_ten_mebibytes_pass_in_bounded_memory(
    tmp_path: Path,
    faulty: RunningEndpoint,
    undisturbed: Ran,
    container: Callable[[str], Container],
    measured: Measured,
) -> None:
    wrong = [item for item, (_, is_right) in undisturbed.answers().items() if not is_right]
    large = [{"match": {"item": item}, "action": "huge"} for item in wrong]
    faulty.reset(faults=[*large, SLOW])
    peaks: list[int] = []
    with sabotage(faulty, after=ITEMS, act=lambda: peaks.append(peak_kib(container("-adapter")))):
        ran = run_toy(tmp_path, faulty.url)
    assert ran.score == undisturbed.score
    assert all(len(ran.answers()[item][0] or "") > 10 * 2**20 for item in wrong)
    assert peaks
    measured(peak_mib=peaks[0] / 1024)
    assert peaks[0] <= 200 * 1024


def peak_kib(container: Container) -> int:
    lines = Path(f"/proc/{adapter_pid(container)}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


@pytest.fixture
def replicas(table: Path) -> Iterator[list[RunningEndpoint]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(running_endpoint(answers=[table], share=SHARE, latency_ms=LATENCY_MS))
            for _ in range(4)
        ]


def test_f23_when_one_of_four_replicas_dies_the_others_take_over(
    tmp_path: Path, replicas: list[RunningEndpoint], undisturbed: Ran, measured: Measured
) -> None:
    first, *others = replicas
    urls = [f"{other.url}/v1" for other in others]
    with sabotage(first, after=4, act=lambda: os.kill(others[1].pid, signal.SIGKILL)) as times:
        ran = run_toy(tmp_path, first.url, params={"repeats": 2}, endpoint={"replicas": urls})
    assert times
    assert ran.code is ExitCode.COMPLETE, ran.said
    assert ran.answers() == undisturbed.answers()
    assert ran.results["completeness"]["errored"] == 0
    longest_s = max(journey.waited_s for journey in journeys(ran.folder).values())
    measured(longest_wait_s=longest_s)
    assert longest_s <= 2
    alive = [first, others[0], others[2]]
    assert min(sum(asked(one).values()) for one in alive) >= 10


def test_a_harness_that_scores_errors_as_wrong_answers_is_incomplete(
    tmp_path: Path, faulty: RunningEndpoint
) -> None:
    faulty.reset(faults=[{"match": {"item": "19"}, "action": "status", "status": 400}])
    ran = run_toy(tmp_path, faulty.url, "swallow")
    assert ran.code is ExitCode.INCOMPLETE
    assert ran.results["results"]["tasks"] == {}
    assert "1 requests got no answer" in ran.said


def test_a_harness_that_asks_nothing_is_incomplete(tmp_path: Path, faulty: RunningEndpoint) -> None:
    ran = run_toy(tmp_path, faulty.url, "idle")
    assert ran.code is ExitCode.INCOMPLETE
    assert "asked the endpoint nothing" in ran.said
    assert asked(faulty) == {}


def test_repeats_are_as_many_upstream_calls_and_none_again_on_resume(
    tmp_path: Path, faulty: RunningEndpoint
) -> None:
    faulty.reset(faults=[{"match": {"item": "19", "nth": 3}, "action": "status", "status": 400}])
    params = {"repeats": 4, "temperature": 0.8}
    first = run_toy(tmp_path, faulty.url, "tolerant+parallel", params=params)
    assert first.code is ExitCode.INCOMPLETE
    assert set(asked(faulty).values()) == {4}
    faulty.reset(faults=[])
    again = run_toy(tmp_path, faulty.url, "tolerant+parallel", params=params)
    assert again.results["completeness"]["scored"] == 4 * ITEMS
    assert asked(faulty) == {"19": 1}


def test_an_impatient_harness_gets_the_answer_it_missed_and_none_is_asked_twice(
    tmp_path: Path, faulty: RunningEndpoint, undisturbed: Ran
) -> None:
    faulty.reset(faults=[{"match": {"item": "7"}, "action": "latency", "latency_ms": 2500}])
    ran = run_toy(tmp_path, faulty.url, "impatient")
    assert ran.answers() == undisturbed.answers()
    assert set(asked(faulty).values()) == {1}


@pytest.mark.parametrize("after", [10, 18])
def test_after_a_killed_harness_only_what_is_missing_is_asked(
    tmp_path: Path,
    faulty: RunningEndpoint,
    undisturbed: Ran,
    container: Callable[[str], Container],
    measured: Measured,
    after: int,
) -> None:
    faulty.reset(faults=[SLOW])
    with sabotage(faulty, after=after, act=lambda: container("-ask").kill()):
        ran = run_toy(tmp_path, faulty.url)
    assert ran.code is ExitCode.EXECUTION, ran.said
    before = asked(faulty)
    faulty.reset(faults=[])
    again = run_toy(tmp_path, faulty.url)
    assert again.answers() == undisturbed.answers()
    measured(upstream_calls=len(asked(faulty)))
    assert sorted(asked(faulty)) == sorted(undisturbed.answers().keys() - before)


def test_after_a_killed_orchestrator_nothing_older_than_a_second_is_asked_again(
    tmp_path: Path,
    faulty: RunningEndpoint,
    undisturbed: Ran,
    client: docker.DockerClient,
    measured: Measured,
) -> None:
    faulty.reset(faults=[SLOW])
    process = start_in_background(tmp_path, faulty.url, "honest")
    while len(asked(faulty)) < 12:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)
    assert client.containers.list(filters={"label": "io.evaldock.run=toy"})
    ran = run_plan(toy_plan(tmp_path, faulty.url))
    assert ran.code is ExitCode.COMPLETE, ran.said
    assert ran.answers() == undisturbed.answers()
    often = asked(faulty)
    measured(asked_twice=sum(often.values()) - ITEMS)
    assert sum(often.values()) - ITEMS <= MOST_LOST
    assert max(often.values()) <= 2
