"""Faults F12 to F15 and F17 to F21: an endpoint that misbehaves, before the toy harness in its container."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.kit.fault_runs import ITEMS, Journey, Ran, asked, journeys, run_toy

from evaldock.testkit.fake_endpoint import RunningEndpoint
from evaldock_entrypoints.contract.errors import ExitCode

pytestmark = [pytest.mark.containers, pytest.mark.usefixtures("engine_host")]
Measured = Callable[..., None]

TIMEOUT_S, IDLE_S = 1.0, 0.5
PATIENCE: dict[str, Any] = {"params": {"request_timeout": TIMEOUT_S}, "endpoint": {"idle_timeout_s": IDLE_S}}
FIRST_BACKOFF_S = 0.5  # full jitter, up to this
SLACK_S = 0.4  # of a loaded machine


def once(action: str, **more: Any) -> dict[str, Any]:
    return {"action": action, "times": 1, **more}


def busy(retry_after: str, retry_after_s: float = 2.0) -> dict[str, Any]:
    return once("status", status=429, retry_after=retry_after, retry_after_s=retry_after_s)


# Each hits the item of its place, once: one run meets them all.
BUSY = tuple(busy(form) for form in ("seconds", "date", "ms", "garbage", "none"))
SECONDS, DATE, MILLISECONDS, GARBAGE, NONE = range(5)
GAUNTLET = (
    *(once("status", status=status) for status in (500, 502, 503, 504)),
    *(once("hang"), once("slow_bytes", interval_ms=2000)),
    *(once("reset"), once("reset", at="half"), once("truncate")),
    *(once("invalid_json"), once("empty_body"), once("html"), once("html", status=200), once("error_answer")),
    once("wrong_content_type"),  # which is an answer all the same
)
SERVER_ERRORS, HANG, DRIBBLE, BROKEN_OFF, NO_ANSWERS, MISNAMED = range(4), 4, 5, range(6, 9), range(9, 14), 14


@dataclass(frozen=True, kw_only=True)
class Passed:
    """A run through several faults. often: how many times each question was asked."""

    ran: Ran
    often: dict[str, int]
    way: dict[str, Journey]


def passed(endpoint: RunningEndpoint, folder: Path, rules: Sequence[dict[str, Any]]) -> Passed:
    endpoint.reset(faults=[rule | {"match": {"item": str(item)}} for item, rule in enumerate(rules)])
    ran = run_toy(folder, endpoint.url, "parallel", **PATIENCE)
    return Passed(ran=ran, often=asked(endpoint), way=journeys(ran.folder))


@pytest.fixture(scope="module")
def gauntlet(shared_endpoint: RunningEndpoint, tmp_path_factory: pytest.TempPathFactory) -> Passed:
    return passed(shared_endpoint, tmp_path_factory.mktemp("gauntlet"), GAUNTLET)


@pytest.fixture(scope="module")
def throttled(shared_endpoint: RunningEndpoint, tmp_path_factory: pytest.TempPathFactory) -> Passed:
    return passed(shared_endpoint, tmp_path_factory.mktemp("throttled"), BUSY)


@pytest.fixture(params=["gauntlet", "throttled"])
def either(request: pytest.FixtureRequest) -> Passed:
    found: Passed = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def way(gauntlet: Passed) -> dict[str, Journey]:
    return gauntlet.way


def test_every_answer_and_the_score_are_the_undisturbed_ones(either: Passed, undisturbed: Ran) -> None:
    assert either.ran.code is ExitCode.COMPLETE, either.ran.said
    assert either.ran.score == undisturbed.score
    assert either.ran.answers() == undisturbed.answers()


@pytest.mark.parametrize(("run", "hit"), [("gauntlet", range(MISNAMED)), ("throttled", range(len(BUSY)))])
def test_every_retry_is_made_once_and_counted(request: pytest.FixtureRequest, run: str, hit: range) -> None:
    found: Passed = request.getfixturevalue(run)
    metrics = found.ran.metrics
    assert found.often == {str(item): 2 if item in hit else 1 for item in range(ITEMS)}
    assert (metrics["requests"], metrics["retried"], metrics["failed"]) == (ITEMS, len(hit), 0)
    assert found.ran.results["completeness"]["retried"] == len(hit)
    assert found.ran.results["completeness"]["errored"] == 0


@pytest.mark.parametrize("item", [SECONDS, DATE, MILLISECONDS])
def test_f12_a_pause_that_is_asked_for_is_obeyed_within_a_fifth(
    throttled: Passed, measured: Measured, item: int
) -> None:
    found = throttled.way[str(item)]
    # The endpoint rounds a date up to whole seconds, by what its clock says a little after the start.
    dates = (math.ceil(found.started_at + 2 + later) - found.started_at for later in (0, SLACK_S))
    wanted_s = min(dates if item == DATE else [2.0], key=lambda date: abs(date - found.waited_s))
    measured(wanted_s=wanted_s, waited_s=found.waited_s)
    assert 0.8 * wanted_s <= found.waited_s <= 1.2 * wanted_s


@pytest.mark.parametrize("item", [GARBAGE, NONE])
def test_f12_without_a_word_of_sense_the_pause_is_ours(
    throttled: Passed, measured: Measured, item: int
) -> None:
    measured(waited_s=throttled.way[str(item)].waited_s)
    assert throttled.way[str(item)].waited_s <= FIRST_BACKOFF_S + SLACK_S


def test_f13_server_errors_are_asked_again_at_once(way: dict[str, Journey]) -> None:
    for item in SERVER_ERRORS:
        assert way[str(item)].attempts == 2
        assert way[str(item)].waited_s <= FIRST_BACKOFF_S + SLACK_S


def test_f17_an_endpoint_that_never_answers_is_given_up_at_the_timeout(
    way: dict[str, Journey], measured: Measured
) -> None:
    measured(waited_s=way[str(HANG)].waited_s)
    assert TIMEOUT_S <= way[str(HANG)].waited_s <= TIMEOUT_S + FIRST_BACKOFF_S + SLACK_S


def test_f18_an_answer_that_stops_coming_is_given_up_when_idle(
    way: dict[str, Journey], measured: Measured
) -> None:
    measured(waited_s=way[str(DRIBBLE)].waited_s)
    assert IDLE_S <= way[str(DRIBBLE)].waited_s <= IDLE_S + FIRST_BACKOFF_S + SLACK_S


@pytest.mark.parametrize("item", [*BROKEN_OFF, *NO_ANSWERS])
def test_f18_f19_what_is_torn_or_no_answer_is_asked_again(way: dict[str, Journey], item: int) -> None:
    assert way[str(item)].attempts == 2


def test_f14_a_body_the_endpoint_never_digests_is_one_failed_sample(
    tmp_path: Path, faulty: RunningEndpoint, undisturbed: Ran, measured: Measured
) -> None:
    faulty.reset(faults=[{"match": {"item": "3"}, "action": "status", "status": 500}])
    ran = run_toy(tmp_path, faulty.url, "tolerant")
    assert ran.code is ExitCode.INCOMPLETE
    assert ran.results["completeness"] | {"scored": 19, "errored": 1} == ran.results["completeness"]
    assert ran.results["results"]["tasks"] == {}
    measured(tries=asked(faulty)["3"])
    assert 1 < asked(faulty)["3"] <= 5
    assert {item: answer for item, answer in ran.answers().items() if item != "3"} == {
        item: answer for item, answer in undisturbed.answers().items() if item != "3"
    }
    assert "500" in ran.said


def test_f14_a_harness_that_gives_up_then_has_failed_and_the_next_start_goes_on(
    tmp_path: Path, faulty: RunningEndpoint, undisturbed: Ran
) -> None:
    faulty.reset(faults=[{"match": {"item": "17"}, "action": "status", "status": 500}])
    ran = run_toy(tmp_path, faulty.url)
    assert ran.code is ExitCode.HARNESS
    assert "exited with status 1" in ran.said
    assert "500" in ran.said
    before = asked(faulty)
    assert before["17"] <= 5
    faulty.reset(faults=[])
    again = run_toy(tmp_path, faulty.url)
    assert again.answers() == undisturbed.answers()
    assert asked(faulty) == {"17": 1, "18": 1, "19": 1}


FINAL = (400, 403, 404, 413, 422)


def test_f15_refusals_are_final_and_asked_once(
    tmp_path: Path, faulty: RunningEndpoint, undisturbed: Ran
) -> None:
    faulty.reset(
        faults=[
            {"match": {"item": str(item)}, "action": "status", "status": status}
            for item, status in enumerate(FINAL)
        ]
    )
    ran = run_toy(tmp_path, faulty.url, "tolerant")
    assert ran.code is ExitCode.INCOMPLETE
    assert set(asked(faulty).values()) == {1}
    assert ran.results["completeness"]["errored"] == len(FINAL)
    assert ran.wall_s <= undisturbed.wall_s + 5
    assert "HTTP Error 400" in ran.said


@pytest.mark.parametrize("mode", ["honest", "tolerant"])
def test_f15_a_refused_key_stops_the_run_and_its_variable_is_named(
    tmp_path: Path,
    faulty: RunningEndpoint,
    undisturbed: Ran,
    measured: Measured,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    monkeypatch.setenv("TOY_SECRET", "sk-canary-0123456789")
    faulty.reset(
        faults=[
            {"match": {"item": "5"}, "action": "status", "status": 401},
            {"action": "latency", "latency_ms": 200},
        ]
    )
    ran = run_toy(tmp_path, faulty.url, mode, key_name="TOY_SECRET")
    assert ran.code is ExitCode.ENDPOINT
    assert "TOY_SECRET" in ran.said
    assert "sk-canary" not in ran.said
    assert asked(faulty) == {str(item): 1 for item in range(6)}
    measured(longer_than_undisturbed_s=ran.wall_s - undisturbed.wall_s)
    assert ran.wall_s <= undisturbed.wall_s + 6 * 0.2 + 5


@pytest.mark.parametrize("action", ["sse_cut", "sse_error"])
def test_f20_a_stream_that_breaks_off_is_asked_again_and_never_a_short_answer(
    tmp_path: Path, faulty: RunningEndpoint, undisturbed: Ran, action: str
) -> None:
    faulty.reset(faults=[once(action, match={"item": str(item)}) for item in (0, 7)])
    ran = run_toy(tmp_path, faulty.url, stream=True)
    assert ran.score == undisturbed.score
    assert ran.answers() == undisturbed.answers()
    assert ran.metrics["retried"] == 2
    assert ran.metrics["ttft_ms"]["p50"] > 0
    assert [item for item, often in asked(faulty).items() if often == 2] == ["0", "7"]


def test_f20_a_stream_that_the_harness_has_part_of_is_its_error_and_incomplete(
    tmp_path: Path, faulty: RunningEndpoint
) -> None:
    faulty.reset(faults=[{"action": "sse_cut", "match": {"item": "7"}}])
    ran = run_toy(tmp_path, faulty.url, "stream+tolerant")
    assert ran.code is ExitCode.INCOMPLETE
    assert ran.results["completeness"] | {"scored": 19, "errored": 1} == ran.results["completeness"]


def test_f21_choices_twice_or_reordered_change_nothing(
    tmp_path: Path, faulty: RunningEndpoint, undisturbed: Ran
) -> None:
    faulty.reset(faults=[{"match": {"share": 0.5}, "action": "duplicate"}, {"action": "reordered"}])
    ran = run_toy(tmp_path, faulty.url)
    assert ran.answers() == undisturbed.answers()
    assert {"duplicate", "reordered"} <= set(faulty.stats()["faults"])
