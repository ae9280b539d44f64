"""Faults F6, F11, F16, F21 to F23 and F29, and killed runs: the adapter, its store and its endpoints."""

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
from evaldock_entrypoints.contract.adapter import EXCHANGES
from evaldock_entrypoints.contract.errors import ExecutionError, ExitCode

pytestmark = [pytest.mark.containers, pytest.mark.usefixtures("engine_host")]

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
    tmp_path: Path, faulty: RunningEndpoint, undisturbed: Ran, container: Callable[[str], Container]
) -> None:
    faulty.reset(faults=[SLOW])
    with sabotage(faulty, after=8, act=lambda: kill_adapter(container("-adapter"))) as times:
        ran = run_toy(tmp_path, faulty.url)
    assert time.monotonic() - times[0] <= 5
    assert isinstance(ran.error, ExecutionError)
    assert "the adapter ended by itself (was killed by SIGKILL)" in ran.said
    assert ran.code is ExitCode.EXECUTION
    before = asked(faulty)
    faulty.reset(faults=[])
    again = run_toy(tmp_path, faulty.url)
    assert again.answers() == undisturbed.answers()
    twice = [item for item in asked(faulty) if item in before]
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
    assert ran.score == (SHARE, 10 * ITEMS)
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
    tmp_path: Path, faulty: RunningEndpoint, undisturbed: Ran, container: Callable[[str], Container]
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
    tmp_path: Path, replicas: list[RunningEndpoint], undisturbed: Ran
) -> None:
    first, *others = replicas
    urls = [f"{other.url}/v1" for other in others]
    with sabotage(first, after=4, act=lambda: os.kill(others[1].pid, signal.SIGKILL)) as times:
        ran = run_toy(tmp_path, first.url, params={"repeats": 2}, endpoint={"replicas": urls})
    assert times
    assert ran.code is ExitCode.COMPLETE, ran.said
    assert ran.answers() == undisturbed.answers()
    assert ran.results["completeness"]["errored"] == 0
    assert max(journey.waited_s for journey in journeys(ran.folder).values()) <= 2
    alive = [first, others[0], others[2]]
    assert min(sum(asked(one).values()) for one in alive) >= 10


def damaged_start(tmp_path: Path, endpoint: RunningEndpoint) -> Path:
    """Leave a run whose harness gave up at the last question; return its exchanges."""
    endpoint.reset(faults=[{"match": {"item": "19"}, "action": "status", "status": 400}])
    ran = run_toy(tmp_path, endpoint.url)
    assert ran.code is ExitCode.HARNESS
    endpoint.reset(faults=[])
    return ran.folder / EXCHANGES


def flip(path: Path) -> None:
    """Change one bit in each of three places."""
    data = bytearray(path.read_bytes())
    for share in (0.2, 0.5, 0.8):
        data[int(len(data) * share)] ^= 0x10
    path.write_bytes(data)


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def hole(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3] + data[len(data) // 2 :])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(b"\x00" * 4096 + path.read_bytes() + b"{}" * 512)


@pytest.mark.parametrize(
    ("damage", "is_counted", "most_lost"),
    [(flip, True, 3), (tear, True, 8), (hole, True, 6), (empty, False, 19), (garbage, True, 0)],
)
def test_f29_a_damaged_store_costs_what_is_damaged_and_is_counted(
    tmp_path: Path,
    faulty: RunningEndpoint,
    undisturbed: Ran,
    damage: Callable[[Path], None],
    is_counted: bool,
    most_lost: int,
) -> None:
    (segment,) = damaged_start(tmp_path, faulty).iterdir()
    damage(segment)
    ran = run_toy(tmp_path, faulty.url)
    assert ran.answers() == undisturbed.answers()
    assert (ran.metrics["corrupt_exchanges"] > 0) == is_counted
    lost = set(asked(faulty)) - {"19"}
    assert len(lost) <= most_lost
    assert ran.metrics["cached"] == 19 - len(lost)


def test_f29_a_damaged_state_starts_the_task_over_from_the_store(
    tmp_path: Path, faulty: RunningEndpoint, undisturbed: Ran
) -> None:
    task = damaged_start(tmp_path, faulty).parent
    for name in ("state.json", "results.yml", "progress.json", "logs/response_stats.json"):
        (task / name).write_bytes(b'{"finished_phases": ["ask"\x00')
    status = task.parent / "adapter" / "status.json"
    status.write_bytes(b'{"ready": true, "fatal": 3')
    ran = run_toy(tmp_path, faulty.url)
    assert ran.answers() == undisturbed.answers()
    assert asked(faulty) == {"19": 1}


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
    assert again.score[1] == 4 * ITEMS
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
    assert sorted(asked(faulty)) == sorted(undisturbed.answers().keys() - before)


def test_after_a_killed_orchestrator_nothing_older_than_a_second_is_asked_again(
    tmp_path: Path, faulty: RunningEndpoint, undisturbed: Ran, client: docker.DockerClient
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
    assert sum(often.values()) - ITEMS <= MOST_LOST
    assert max(often.values()) <= 2
