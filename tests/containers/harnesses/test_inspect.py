"""Inspect against the seeded endpoint: shares, failures, a judge, and parity with Inspect by itself."""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.containers.answers import answer_table
from tests.kit.cli import Ended, only_run, run_document, scores, task_results

from evaldock.supply.lock import LockedImage
from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint

pytestmark = [pytest.mark.containers, pytest.mark.slow]

LIMIT = 16
ASKED = {
    "gsm8k": "Solve the following",
    "arc_challenge": "Answer the following",
}  # by the harness, not by a probe


class Tables:
    """Answer tables, each made once."""

    def __init__(self, client: docker.DockerClient, image: LockedImage, folder: Path) -> None:
        self._client, self._image, self._folder = client, image, folder

    def path(self, task: str, limit: int | None = LIMIT) -> Path:
        """Return the table of the first `limit` items of a task."""
        path = self._folder / f"{task}-{limit}.jsonl"
        if not path.exists():
            argv = ["inspect_answers.py", "/opt/data", task, *([] if limit is None else [str(limit)])]
            answer_table(self._client, self._image, argv, path)
        return path


@pytest.fixture(scope="module")
def tables(
    client: docker.DockerClient, images: dict[str, LockedImage], tmp_path_factory: pytest.TempPathFactory
) -> Tables:
    return Tables(client, images["inspect"], tmp_path_factory.mktemp("tables"))


def run(
    tmp_path: Path,
    endpoint: RunningEndpoint,
    task: str,
    *,
    judge: RunningEndpoint | None = None,
    extra: dict[str, Any] | None = None,
    **params: Any,
) -> Ended:
    given = {"limit_samples": LIMIT, "extra": {"sampling": "head"} | (extra or {}), **params}
    target: dict[str, Any] = {"api_endpoint": {"url": f"{endpoint.url}/v1", "model_id": "fake-model"}}
    if judge is not None:
        target["auxiliary"] = {"judge": {"url": f"{judge.url}/v1", "model_id": "fake-model"}}
    tree = {
        "target": target,
        "evaluation": {"tasks": [{"name": f"inspect.{task}", "params": given}]},
    }
    return run_document(tree, tmp_path)


def bodies(endpoint: RunningEndpoint, task: str) -> Iterator[dict[str, Any]]:
    """Yield what was asked of the task, in the order of the questions."""
    seen = [json.loads(request["body"]) for request in endpoint.last_requests()]
    asked = [body for body in seen if ASKED[task] in str(body["messages"])]
    yield from sorted(asked, key=lambda body: json.dumps(body, sort_keys=True))


def check_share(results: dict[str, Any], task: str, share: float) -> None:
    found = scores(results, task)["accuracy"]
    assert (found["value"], found["n"]) == (share, LIMIT)
    assert found["stderr"] == pytest.approx(math.sqrt(share * (1 - share) / (LIMIT - 1)), abs=1e-12)
    counts = results["completeness"]
    assert (counts["expected"], counts["scored"], counts["errored"]) == (LIMIT, LIMIT, 0)


@pytest.mark.parametrize(
    ("task", "native_arguments"), [("gsm8k", ["-T", "fewshot=0"]), ("arc_challenge", [])]
)
def test_the_share_is_reported_and_inspect_by_itself_asks_and_reports_the_same(
    tmp_path: Path,
    client: docker.DockerClient,
    images: dict[str, LockedImage],
    tables: Tables,
    task: str,
    native_arguments: list[str],
) -> None:
    with running_endpoint(answers=[tables.path(task)], share=0.75) as endpoint:
        ended = run(tmp_path, endpoint, task, temperature=0.3, top_p=0.9, max_new_tokens=99, seed=7)
        stats, asked = endpoint.stats(), [*bodies(endpoint, task)]
        endpoint.reset()
        metrics = inspect_by_itself(client, images["inspect"], endpoint, tmp_path, task, native_arguments)
        asked_natively = [*bodies(endpoint, task)]
    assert ended.code == 0, ended.err
    assert [item["asked"] for item in stats["items"].values()] == [1] * LIMIT
    assert stats["unmatched"] <= 2  # the preflight asks on the host and in the container
    results = task_results(tmp_path, f"inspect.{task}")
    check_share(results, task, 0.75)
    assert asked == asked_natively
    sent = {name: asked[0][name] for name in ("temperature", "top_p", "max_tokens", "seed")}
    assert sent == {"temperature": 0.3, "top_p": 0.9, "max_tokens": 99, "seed": 7}
    found = scores(results, task)["accuracy"]
    assert found["value"] == metrics["accuracy"]["value"]
    assert found["stderr"] == pytest.approx(metrics["stderr"]["value"], abs=1e-15)


def inspect_by_itself(
    client: docker.DockerClient,
    image: LockedImage,
    endpoint: RunningEndpoint,
    tmp_path: Path,
    task: str,
    arguments: list[str],
) -> dict[str, dict[str, float]]:
    """Return the metrics that the image's own `inspect eval` prints, without any code of ours."""
    logs = tmp_path / "logs"
    logs.mkdir()
    settings = {"temperature": 0.3, "top-p": 0.9, "max-tokens": 99, "seed": 7, "limit": LIMIT}
    argv = ["/opt/harness/bin/inspect", "eval", f"inspect_evals/{task}", *arguments]
    argv += ["--model", "openai-api/local/fake-model", "--display", "plain"]
    argv += ["--log-format", "json", "--log-dir", "/logs"]
    argv += [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    client.containers.run(
        image.image_id,
        argv,
        working_dir="/opt/data",
        user=f"{os.getuid()}:{os.getgid()}",
        environment={
            "LOCAL_BASE_URL": f"{endpoint.url}/v1",
            "LOCAL_API_KEY": "none",
            "HF_HUB_OFFLINE": "1",
            "HOME": "/tmp",
        },
        mounts=[docker.types.Mount(target="/logs", source=str(logs), type="bind")],
        network_mode="host",
        remove=True,
    )
    (log,) = logs.iterdir()
    metrics: dict[str, dict[str, float]] = json.loads(log.read_text())["results"]["scores"][0]["metrics"]
    return metrics


def test_refusals_that_pass_change_nothing(tmp_path: Path, tables: Tables) -> None:
    busy = {"match": {"route": "chat", "share": 0.2, "first_n": 1}, "action": "status", "status": 429}
    with running_endpoint(answers=[tables.path("gsm8k")], share=0.75, faults=[busy]) as endpoint:
        ended = run(tmp_path, endpoint, "gsm8k")
        assert endpoint.stats()["statuses"].get("429", 0) > 0
    assert ended.code == 0, ended.err
    check_share(task_results(tmp_path, "inspect.gsm8k"), "gsm8k", 0.75)


def test_repeats_of_a_seeded_sample_are_asked_each_with_a_seed_of_its_own(
    tmp_path: Path, tables: Tables
) -> None:
    with running_endpoint(answers=[tables.path("gsm8k", None)], share=1.0) as endpoint:
        ended = run(
            tmp_path, endpoint, "gsm8k", extra={"sampling": "seeded"}, limit_samples=0.005, repeats=3, seed=7
        )
        asked = {name: item["asked"] for name, item in endpoint.stats()["items"].items() if item["asked"]}
        seeds = [body["seed"] for body in bodies(endpoint, "gsm8k")]
    assert ended.code == 0, ended.err
    assert [*asked.values()] == [3] * 7  # 0.5 % of 1,319, rounded up
    assert not {f"gsm8k-{number}" for number in range(7)} & set(asked)
    assert sorted(seeds) == [7] * 7 + [8] * 7 + [9] * 7
    results = task_results(tmp_path, "inspect.gsm8k")
    assert scores(results, "gsm8k")["accuracy"]["n"] == 7  # each the mean of its repeats
    assert (results["completeness"]["expected"], results["completeness"]["scored"]) == (21, 21)


def test_a_question_that_fails_for_good_makes_the_result_incomplete(tmp_path: Path, tables: Tables) -> None:
    broken = {"match": {"item": "gsm8k-5"}, "action": "status", "status": 500}
    with running_endpoint(answers=[tables.path("gsm8k")], share=0.75, faults=[broken]) as endpoint:
        ended = run(tmp_path, endpoint, "gsm8k", max_retries=1)
        assert endpoint.stats()["items"]["gsm8k-5"]["asked"] == 2
    assert ended.code == 5, ended.err
    results = task_results(tmp_path, "inspect.gsm8k")
    assert results["results"]["tasks"] == {}
    counts = results["completeness"]
    assert (counts["expected"], counts["scored"], counts["errored"]) == (LIMIT, LIMIT - 1, 1)
    assert scores({"results": results["partial"]}, "gsm8k")["accuracy"]["n"] == LIMIT - 1


def test_an_endpoint_that_fails_every_question_gets_no_score_although_inspect_ends_with_success(
    tmp_path: Path, tables: Tables
) -> None:
    broken = {"match": {"body_contains": ASKED["gsm8k"]}, "action": "status", "status": 500}
    with running_endpoint(answers=[tables.path("gsm8k")], share=1.0, faults=[broken]) as endpoint:
        ended = run(tmp_path, endpoint, "gsm8k", max_retries=0)
    (log,) = (only_run(tmp_path) / "inspect.gsm8k" / "native").glob("*.json")
    assert json.loads(log.read_text())["status"] == "success"
    assert ended.code == 5, ended.err
    results = task_results(tmp_path, "inspect.gsm8k")
    assert (results["results"]["tasks"], results["completeness"]["scored"]) == ({}, 0)
    assert results["completeness"]["errored"] == LIMIT


def test_a_judges_verdicts_are_the_score(tmp_path: Path, tables: Tables) -> None:
    task = "nq_open_judged"
    with (
        running_endpoint(answers=[tables.path(task)], share=1.0) as endpoint,
        running_endpoint(answers=[tables.path("judge")], share=0.25) as judge,
    ):
        ended = run(tmp_path, endpoint, task, judge=judge, temperature=0.6)
        asked = [json.loads(request["body"]) for request in judge.last_requests()]
        verdicts = [item["asked"] for item in judge.stats()["items"].values()]
        answers = [item["asked"] for item in endpoint.stats()["items"].values()]
    assert ended.code == 0, ended.err
    check_share(task_results(tmp_path, f"inspect.{task}"), task, 0.25)
    assert (answers, verdicts) == ([1] * LIMIT, [1] * LIMIT)
    settings = {
        (body["temperature"], body["max_tokens"], body.get("seed"))
        for body in asked
        if "[Expert]" in str(body["messages"])
    }
    assert settings == {(0.0, 1024, None)}


def test_a_judge_without_a_verdict_leaves_no_score(tmp_path: Path, tables: Tables) -> None:
    task = "nq_open_judged"
    with (
        running_endpoint(answers=[tables.path(task)], share=1.0) as endpoint,
        running_endpoint(answers=[tables.path("judge", LIMIT - 1)], share=1.0) as judge,
    ):
        ended = run(tmp_path, endpoint, task, judge=judge)
        assert judge.stats()["unmatched"] >= 1
    assert ended.code == 5, ended.err
    results = task_results(tmp_path, f"inspect.{task}")
    assert results["results"]["tasks"] == {}
    assert (results["completeness"]["scored"], results["completeness"]["errored"]) == (LIMIT - 1, 1)
