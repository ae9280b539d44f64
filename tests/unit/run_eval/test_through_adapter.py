"""Harnesses of all manners before the adapter: what each run says of what was really asked and answered."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.kit.toy_answers import toy_answers

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint

pytestmark = pytest.mark.slow  # starts processes, or waits

TOY = Path(__file__).parents[2] / "fixtures" / "toy-harness"
CODE = "from evaldock_entrypoints.run_eval.cli import main; main()"
SHARE, ITEMS = 0.75, 20
REFUSED = {"match": {"item": "3"}, "action": "status", "status": 400}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEndpoint]:
    table = toy_answers(tmp_path_factory.mktemp("answers"))
    with running_endpoint(answers=[table], share=SHARE) as running:
        yield running


@pytest.fixture
def endpoint(shared: RunningEndpoint) -> RunningEndpoint:
    """An endpoint that has seen nothing and has no fault."""
    shared.reset([])
    return shared


def run_toy(endpoint: RunningEndpoint, folder: Path, mode: str, *more: str) -> dict[str, Any]:
    """Run the toy in this mode; return its results with the exit code among them. more: a.b=c"""
    argv = [*(sys.executable, "-c", CODE, "--eval_type", "sums", "--model_id", "fake-model")]
    argv += ["--model_url", f"{endpoint.url}/v1", "--output_dir", str(folder)]
    argv += ["--overrides", ",".join((f"params.extra.mode={mode}", *more))]
    env = os.environ | {"EVALDOCK_HARNESS_DIR": str(TOY), "EVALDOCK_DATA_DIR": str(TOY / "data")}
    ended = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    tree: dict[str, Any] = yaml.safe_load((folder / "results.yml").read_text(encoding="utf-8"))
    return {**tree, "exit_code": ended.returncode}


def score(results: dict[str, Any]) -> tuple[float, int]:
    found = results["results"]["tasks"]["sums"]["metrics"]["acc"]["scores"]["acc"]
    return found["value"], found["n"]


def asked(endpoint: RunningEndpoint) -> list[int]:
    """Return how often each question reached the endpoint, in the order of the questions."""
    items = endpoint.stats()["items"]
    return [items[str(number)]["asked"] if str(number) in items else 0 for number in range(ITEMS)]


@pytest.mark.parametrize("mode", ["honest", "parallel", "stream", "parallel+stream"])
@pytest.mark.parametrize("endpoint_type", ["completions", "chat"])
def test_however_a_harness_asks_its_score_is_the_share_that_was_right(
    tmp_path: Path, endpoint: RunningEndpoint, mode: str, endpoint_type: str
) -> None:
    results = run_toy(endpoint, tmp_path, mode, f"target.api_endpoint.type={endpoint_type}")
    assert (results["exit_code"], score(results)) == (0, (SHARE, ITEMS))
    assert asked(endpoint) == [1] * ITEMS


def test_n_repeats_are_n_answers_and_a_second_start_asks_for_none_of_them(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    repeats = "params.repeats=3"
    first = run_toy(endpoint, tmp_path, "parallel", repeats)
    assert (first["exit_code"], score(first)) == (0, (SHARE, ITEMS))  # repeats of an item count as one
    assert first["completeness"]["scored"] == 3 * ITEMS
    assert asked(endpoint) == [3] * ITEMS
    (tmp_path / "results.yml").unlink()
    again = run_toy(endpoint, tmp_path, "parallel", repeats)
    assert score(again) == score(first)
    assert again["completeness"]["cached"] == 3 * ITEMS
    assert asked(endpoint) == [3] * ITEMS


def test_a_harness_that_loses_patience_gets_the_answer_it_did_not_wait_for(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    slow = [{"match": {"item": str(number)}, "action": "latency", "latency_ms": 1400} for number in (2, 5)]
    endpoint.reset(slow)
    results = run_toy(endpoint, tmp_path, "impatient+parallel")
    assert (results["exit_code"], score(results)) == (0, (SHARE, ITEMS))
    assert asked(endpoint) == [1] * ITEMS


def test_a_failed_sample_is_missing_from_the_score(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    endpoint.reset([REFUSED])
    results = run_toy(endpoint, tmp_path, "tolerant")
    assert (results["exit_code"], results["status"]) == (5, "incomplete")
    assert results["results"]["tasks"] == {}
    assert (results["completeness"]["errored"], results["completeness"]["scored"]) == (1, ITEMS - 1)


def test_an_error_that_a_harness_scores_as_a_wrong_answer_is_found(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    endpoint.reset([REFUSED])
    results = run_toy(endpoint, tmp_path, "swallow")
    assert (results["exit_code"], results["status"]) == (5, "incomplete")
    assert results["results"]["tasks"] == {}
    assert results["completeness"]["errored"] == 1
    assert "status 400" in results["partial"]["reasons"][0]


def test_an_error_is_found_though_a_later_repeat_of_the_same_question_is_answered(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    endpoint.reset([{"match": {"item": "3", "nth": 1}, "action": "status", "status": 400}])
    results = run_toy(endpoint, tmp_path, "swallow", "params.repeats=2")
    assert (results["exit_code"], results["status"]) == (5, "incomplete")
    assert results["completeness"]["errored"] == 1
    assert asked(endpoint)[3] == 2


# A second phase that asks one question, and fails until a file is there.
REVIEW = """
import json, pathlib, sys, urllib.request
url, marker = sys.argv[1:]
body = {"model": "fake-model", "prompt": "What is 0 + 0?", "max_tokens": 8}
request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
urllib.request.urlopen(request).read()
sys.exit(not pathlib.Path(marker).exists())
"""


def test_an_error_in_a_phase_of_an_earlier_start_is_not_forgotten(
    tmp_path: Path, endpoint: RunningEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.reset([REFUSED])
    marker = tmp_path / "go"
    monkeypatch.setattr(f"{__name__}.TOY", _toy_with_review(tmp_path / "toy", marker))
    assert run_toy(endpoint, tmp_path / "out", "swallow")["status"] == "failed"
    marker.touch()
    resumed = run_toy(endpoint, tmp_path / "out", "swallow")
    assert (resumed["exit_code"], resumed["status"]) == (5, "incomplete")
    assert "status 400" in resumed["partial"]["reasons"][0]


def _toy_with_review(folder: Path, marker: Path) -> Path:
    shutil.copytree(TOY, folder)
    (folder / "review.py").write_text(REVIEW)
    framework = yaml.safe_load((folder / "framework.yml").read_text(encoding="utf-8"))
    argv = ["python3", "{paths.harness}/review.py", "{endpoint.url}", str(marker)]
    framework["phases"].append({"name": "review", "argv": argv})
    (folder / "framework.yml").write_text(yaml.safe_dump(framework), encoding="utf-8")
    return folder


def test_scores_for_which_nothing_was_asked_are_no_result(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    results = run_toy(endpoint, tmp_path, "idle")
    assert (results["exit_code"], results["status"]) == (5, "incomplete")
    assert results["results"]["tasks"] == {}
    assert "asked the endpoint nothing" in results["partial"]["reasons"][0]


def test_a_harness_that_gives_up_at_an_error_has_failed_and_resumes_where_it_was(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    endpoint.reset([REFUSED])
    failed = run_toy(endpoint, tmp_path, "honest")
    assert (failed["exit_code"], failed["status"]) == (4, "failed")
    assert "HTTP Error 400" in failed["error"]["next"]
    endpoint.reset([])
    resumed = run_toy(endpoint, tmp_path, "honest")
    assert (resumed["exit_code"], score(resumed)) == (0, (SHARE, ITEMS))
    assert asked(endpoint) == [0, 0, 0, *[1] * (ITEMS - 3)]
    metrics = json.loads((tmp_path / "metrics.json").read_bytes())
    assert (metrics["requests"], metrics["cached"], metrics["failed"]) == (ITEMS, 3, 0)


def test_a_score_that_rests_on_no_question_is_none(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    results = run_toy(endpoint, tmp_path, "idle")
    assert (results["exit_code"], results["status"]) == (5, "incomplete")
    assert results["partial"]["reasons"] == ["the harness scored samples, and it asked the endpoint nothing"]
    assert asked(endpoint) == [0] * ITEMS


def test_an_endpoint_that_goes_away_for_good_is_what_ended_the_task(tmp_path: Path) -> None:
    settings = (
        "target.api_endpoint.adapter_config.interceptors=[{name: endpoint, config: {total_timeout_s: 1}}]"
    )
    with running_endpoint(answers=[toy_answers(tmp_path)], latency_ms=300) as leaving:
        timer = threading.Timer(2.5, lambda: os.kill(leaving.pid, signal.SIGKILL))
        timer.start()
        results = run_toy(leaving, tmp_path / "out", "honest", settings)
        timer.join()
    assert results["exit_code"] == 3
    assert "requests failed for good" in results["error"]["message"]
    assert "resume" in results["error"]["next"]
