"""RULER against the seeded endpoint: the reported value is the share that was answered right."""

import json
import math
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.containers.answers import answer_table
from tests.kit.cli import Ended, evaldock, only_run, run_document, scores, task_results

from evaldock.supply.lock import LockedImage
from evaldock.testkit.fake_endpoint import running_endpoint

pytestmark = [pytest.mark.containers, pytest.mark.slow]

SUBTASKS, TOKENS, SAMPLES = ("niah_single_1", "vt"), 4096, 4
TASK = "ruler.ruler_4k"


@pytest.fixture(scope="module")
def tables(
    client: docker.DockerClient, images: dict[str, LockedImage], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """One answer table for each sub-task, from the texts that RULER itself wrote."""
    folder = tmp_path_factory.mktemp("ruler")
    argv = ["ruler_answers.py"], [str(TOKENS), str(SAMPLES)]
    return [
        answer_table(client, images["ruler"], [*argv[0], name, *argv[1]], folder / f"{name}.jsonl")
        for name in SUBTASKS
    ]


def run(tmp_path: Path, url: str, endpoint_type: str, subtasks: str = ",".join(SUBTASKS)) -> Ended:
    params: dict[str, Any] = {
        "limit_samples": SAMPLES,
        "parallelism": 4,
        "max_retries": 2,
        "extra": {"subtasks": subtasks},
    }
    endpoint = {"url": f"{url}/v1", "model_id": "fake-model", "type": endpoint_type}
    tree = {
        "target": {"api_endpoint": endpoint},
        "evaluation": {"tasks": [{"name": TASK, "params": params}]},
    }
    return run_document(tree, tmp_path)


def check_half(results: dict[str, Any]) -> None:
    """All sub-tasks half right, and so the whole."""
    for name in SUBTASKS:
        found = scores(results, name)["accuracy"]
        assert (found["value"], found["n"]) == (0.5, SAMPLES)
        assert found["stderr"] == pytest.approx(math.sqrt(0.25 / (SAMPLES - 1)), abs=1e-12)
    whole = scores(results, "ruler_4k", "groups")["accuracy"]
    assert (whole["value"], whole["n"]) == (0.5, SAMPLES * len(SUBTASKS))
    assert results["completeness"]["expected"] == results["completeness"]["scored"] == whole["n"]


def test_the_share_that_was_right_is_reported(tmp_path: Path, tables: list[Path]) -> None:
    with running_endpoint(answers=tables, share=0.5) as endpoint:
        ended = run(tmp_path, endpoint.url, "chat")
        stats = endpoint.stats()
        bodies = [json.loads(request["body"]) for request in endpoint.last_requests()]
    assert ended.code == 0, ended.err
    check_half(task_results(tmp_path, TASK))
    assert [item["asked"] for item in stats["items"].values()] == [1] * SAMPLES * len(SUBTASKS)
    asked = [body for body in bodies if "magic number" in str(body["messages"])]
    assert {(body["max_tokens"], body["temperature"], body["seed"]) for body in asked} == {(128, 0.0, 42)}


def test_refusals_that_pass_change_nothing(tmp_path: Path, tables: list[Path]) -> None:
    busy = {"match": {"route": "completions", "share": 0.2, "first_n": 1}, "action": "status", "status": 429}
    with running_endpoint(answers=tables, share=0.5, faults=[busy]) as endpoint:
        ended = run(tmp_path, endpoint.url, "completions")
        assert endpoint.stats()["statuses"].get("429", 0) > 0
    assert ended.code == 0, ended.err
    check_half(task_results(tmp_path, TASK))


def test_what_fails_for_good_is_no_score_and_is_all_that_a_resumed_run_asks(
    tmp_path: Path, tables: list[Path]
) -> None:
    """RULER by itself asks such a question for ever; and its texts must be the same at both starts."""
    broken = {"match": {"item": "vt/2"}, "action": "status", "status": 500}
    with running_endpoint(answers=tables, share=0.5, faults=[broken]) as endpoint:
        first = run(tmp_path, endpoint.url, "chat")
        assert first.code == 5, first.err
        results = task_results(tmp_path, TASK)
        assert results["results"]["tasks"] == results["results"]["groups"] == {}
        counts = {"expected": 8, "scored": 7, "errored": 1}
        assert results["completeness"] | counts == results["completeness"]
        before = {name: item["asked"] for name, item in endpoint.stats()["items"].items()}
        endpoint.reset(faults=[])
        again = evaldock("resume", only_run(tmp_path).name, cwd=tmp_path)
        asked = {name: item["asked"] for name, item in endpoint.stats()["items"].items() if item["asked"]}
    assert again.code == 0, again.err
    assert len(before) == 8
    assert asked == {"vt/2": 1}
    check_half(task_results(tmp_path, TASK))


def test_a_subtask_that_ruler_would_skip_is_refused(tmp_path: Path, tables: list[Path]) -> None:
    del tables
    with running_endpoint() as endpoint:
        ended = run(tmp_path, endpoint.url, "chat", subtasks="vt,needle")
    assert ended.code == 2
    assert "needle" in ended.out + ended.err
