"""Faults F4, F5 and F39, a hanging harness, and killed or interrupted runs: injected into real containers."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from tests.kit.toy import Silent, start_in_background, toy_plan
from tests.kit.toy_answers import toy_answers

from evaldock.engines.docker import DockerEngine
from evaldock.executors.outcome import TaskEnd, read_results
from evaldock.session import execute
from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock_entrypoints.contract.errors import ExitCode

pytestmark = [pytest.mark.containers, pytest.mark.usefixtures("engine_host")]

SHARE = 0.75


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEndpoint]:
    table = toy_answers(tmp_path_factory.mktemp("answers"))
    with running_endpoint(answers=[table], share=SHARE) as running:
        yield running


def run(tmp_path: Path, endpoint: RunningEndpoint, mode: str, **execution: Any) -> TaskEnd:
    return execute(toy_plan(tmp_path, endpoint.url, mode, **execution), Silent())[0]


def test_an_honest_harness_scores_the_endpoints_share(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    end = run(tmp_path, endpoint, "honest")
    assert end.exit_code is ExitCode.COMPLETE
    score = end.results["results"]["tasks"]["sums"]["metrics"]["acc"]["scores"]["acc"]
    assert (score["value"], score["n"]) == (SHARE, 20)
    assert end.results["completeness"]["scored"] == 20
    assert (tmp_path / "toy" / "report.html").is_file()
    assert (tmp_path / "toy" / "run.lock.yaml").is_file()


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("no_result", "wrote no result"),  # F39: exits 0 without a result
        ("exit1", "exited with status 1"),  # F39: exits 1 with one
        ("bad_parser", "KeyError"),  # F39: results.py raises
        ("lie", "its own samples give"),
        ("killed", "killed by SIGKILL"),
    ],
)
def test_a_failing_harness_is_named_and_gives_no_score(
    tmp_path: Path, endpoint: RunningEndpoint, mode: str, message: str
) -> None:
    end = run(tmp_path, endpoint, mode)
    assert end.exit_code is ExitCode.HARNESS
    assert end.status == "failed"
    assert message in end.results["error"]["message"]
    assert end.results["error"]["kind"] == "harness"
    assert end.results["results"]["tasks"] == {}


@pytest.mark.parametrize(
    ("mode", "native", "said"),
    [
        ("no_result", [], "done, all is well"),
        ("exit1", ["toy-result.json"], "something went wrong at the very end"),
        ("bad_parser", ["toy-result.json"], "toy harness starts"),
    ],
)
def test_f39_the_raw_output_of_a_failed_harness_is_kept(
    tmp_path: Path, endpoint: RunningEndpoint, mode: str, native: list[str], said: str
) -> None:
    end = run(tmp_path, endpoint, mode)
    assert (end.status, end.results["error"]["kind"]) == ("failed", "harness")
    assert sorted(path.name for path in (end.folder / "native").iterdir()) == sorted([*native, "work"])
    for name in native:
        assert len(json.loads((end.folder / "native" / name).read_bytes())["rows"]) == 20
    assert said in (end.folder / "logs" / "ask.log").read_text(encoding="utf-8")
    assert said in (end.folder / "logs" / "container-toy.sums-ask.log").read_text(encoding="utf-8")
    assert mode != "exit1" or said in end.results["error"]["next"]


def test_a_dropped_answer_is_incomplete(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    end = run(tmp_path, endpoint, "drop")
    assert end.exit_code is ExitCode.INCOMPLETE
    assert end.results["partial"]["missing"] == 1
    assert end.results["results"]["tasks"] == {}


def test_a_hanging_harness_that_ignores_term_ends_at_the_time_limit(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    started = time.monotonic()
    end = run(tmp_path, endpoint, "hang", time_limit="00:00:03")
    assert end.exit_code is ExitCode.INTERRUPTED
    assert end.status == "interrupted"
    assert "time limit" in end.results["error"]["message"]
    assert time.monotonic() - started < 40


def test_f4_a_killed_harness_container_is_named_and_other_tasks_go_on(
    tmp_path: Path, endpoint: RunningEndpoint, client: docker.DockerClient
) -> None:
    class Killer(Silent):
        def step(self, text: str) -> None:
            super().step(text)
            if text == "running toy.sums":
                self.killing = subprocess.Popen(["sleep", "3"])

        def progress(self, *_: object) -> None:
            if self.killing.poll() is not None:
                for container in client.containers.list(filters={"label": "io.evaldock.run=toy"}):
                    if str(container.name).endswith("toy.sums-ask"):
                        container.kill()

    ends = execute(toy_plan(tmp_path, endpoint.url, "sleep", second="honest"), Killer())
    assert ends[0].exit_code is ExitCode.EXECUTION
    assert "killed by SIGKILL" in ends[0].results["error"]["message"]
    assert "toy harness starts" in ends[0].results["error"]["next"]
    assert (ends[1].status, ends[1].results["completeness"]["scored"]) == ("complete", 20)


def test_f5_a_harness_out_of_memory_is_infra_and_not_a_score(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    end = run(tmp_path, endpoint, "memory", memory="256m")
    assert end.exit_code is ExitCode.EXECUTION
    assert end.results["error"]["kind"] == "infra"
    assert "out of memory (limit 256" in end.results["error"]["message"]
    assert end.results["results"]["tasks"] == {}


def test_a_key_reaches_the_harness_and_nothing_that_a_run_leaves_behind(
    tmp_path: Path, endpoint: RunningEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = "sk-canary-5b1f0a77"
    monkeypatch.setenv("TOY_SECRET", canary)
    plan = toy_plan(tmp_path, endpoint.url, "leak", key_name="TOY_SECRET")
    assert execute(plan, Silent())[0].status == "complete"
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(left) > 8
    assert [path for path in left if canary.encode() in path.read_bytes()] == []
    log = (tmp_path / "toy" / "toy.sums" / "logs" / "ask.log").read_text(encoding="utf-8")
    assert "Bearer [redacted]" in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_says_how_to_resume(
    tmp_path: Path, endpoint: RunningEndpoint, number: signal.Signals
) -> None:
    process = start_in_background(tmp_path, endpoint.url, "sleep")
    wait_for_log(tmp_path, "toy harness starts")
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "evaldock resume toy" in output
    results = read_results(tmp_path / "toy" / "toy.sums")
    assert results["status"] == "interrupted"


def test_what_a_killed_run_leaves_is_removed_by_the_next(
    tmp_path: Path, endpoint: RunningEndpoint, engine_host: str, client: docker.DockerClient
) -> None:
    process = start_in_background(tmp_path, endpoint.url, "sleep")
    wait_for_log(tmp_path, "toy harness starts")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)
    assert client.containers.list(all=True, filters={"label": "io.evaldock.run=toy"})
    end = run(tmp_path / "next", endpoint, "honest")
    assert end.status == "complete"
    assert not client.containers.list(all=True, filters={"label": "io.evaldock.run"})
    with DockerEngine(engine_host, "again") as engine:
        assert engine.sweep() == []


def wait_for_log(tmp_path: Path, text: str) -> None:
    log = tmp_path / "toy" / "toy.sums" / "logs" / "ask.log"
    deadline = time.monotonic() + 60
    while not (log.is_file() and text in log.read_text(encoding="utf-8")):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_record_of_a_run_is_plain_yaml(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    run(tmp_path, endpoint, "honest")
    document = yaml.safe_load((tmp_path / "toy" / "run.yaml").read_text(encoding="utf-8"))
    assert document["evaluation"]["tasks"][0]["name"] == "sums"
