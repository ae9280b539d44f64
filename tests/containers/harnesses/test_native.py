"""The native harness against the seeded endpoint: the reported value is the share that was answered right."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.containers.answers import answer_table
from tests.kit.cli import Ended, only_run, run_document, scores, task_results
from tests.kit.podman_host import podman_with

from evaldock.supply.lock import LockedImage
from evaldock.testkit.fake_endpoint import running_endpoint

pytestmark = [pytest.mark.containers, pytest.mark.slow]

ITEMS, SEED = 40, 42
MADE = ("arithmetic", "reasoning")
TOO_MANY_REQUESTS = {
    "match": {"share": 0.2, "first_n": 1},
    "action": "status",
    "status": 429,
    "retry_after_s": 0,
}


@pytest.fixture(scope="module")
def tables(
    client: docker.DockerClient, images: dict[str, LockedImage], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """An answer table for each task that has questions of its own."""
    folder = tmp_path_factory.mktemp("native")
    numbers = [str(ITEMS), str(SEED)]
    return {
        task: answer_table(
            client,
            images["native"],
            ["native_answers.py", task, *(numbers if task in MADE else [])],
            folder / f"{task}.jsonl",
        )
        for task in (*MADE, "smoke", "smoke_logprob")
    }


def run(
    folder: Path, url: str, task: str, endpoint_type: str, *, engine: str | None = None, **params: Any
) -> Ended:
    endpoint = {"url": f"{url}/v1", "model_id": "fake-model", "type": endpoint_type}
    extra = {"items": ITEMS} if task in MADE else {}
    params = {"max_retries": 4, **params, "extra": extra | params.get("extra", {})}
    tree = {
        "target": {"api_endpoint": endpoint},
        "evaluation": {"tasks": [{"name": f"native.{task}", "params": params}]},
        **({"execution": {"engine": engine}} if engine else {}),
    }
    return run_document(tree, folder)


def check(
    results: dict[str, Any], task: str, share: float, n: int, metric: str = "acc", repeats: int = 1
) -> None:
    found = scores(results, task)[metric]
    assert (found["value"], found["n"]) == (share, n)
    assert found["stderr"] == pytest.approx(math.sqrt(share * (1 - share) / (n - 1)), abs=1e-12)
    assert results["completeness"]["expected"] == results["completeness"]["scored"] == n * repeats


CASES = [
    ("arithmetic", "chat", 0.75, ITEMS),
    ("reasoning", "completions", 0.5, ITEMS),
    ("smoke", "completions", 0.7, 10),
    ("smoke_logprob", "completions_logprob", 0.75, 12),
]


@pytest.mark.parametrize(("task", "endpoint_type", "share", "n"), CASES)
def test_the_share_that_was_right_is_the_score(
    tmp_path: Path, tables: dict[str, Path], task: str, endpoint_type: str, share: float, n: int
) -> None:
    with running_endpoint(answers=[tables[task]], share=share) as endpoint:
        ended = run(tmp_path, endpoint.url, task, endpoint_type)
        stats = endpoint.stats()
    assert ended.code == 0, ended.err
    check(task_results(tmp_path, f"native.{task}"), task, share, n)
    requests = 2 if task == "smoke_logprob" else 1  # for each question: one for each choice
    assert [item["asked"] for item in stats["items"].values()] == [requests] * n
    assert stats["unmatched"] <= 2  # the preflight asks on the host and in the container
    assert stats["no_choice"] == 0


@pytest.mark.parametrize(("task", "endpoint_type", "share", "n"), CASES[:1])
def test_refused_requests_are_asked_again_and_change_nothing(
    tmp_path: Path, tables: dict[str, Path], task: str, endpoint_type: str, share: float, n: int
) -> None:
    with running_endpoint(answers=[tables[task]], share=share, faults=[TOO_MANY_REQUESTS]) as endpoint:
        ended = run(tmp_path, endpoint.url, task, endpoint_type)
        stats = endpoint.stats()
    assert ended.code == 0, ended.err
    results = task_results(tmp_path, f"native.{task}")
    check(results, task, share, n)
    assert stats["statuses"]["429"] >= results["completeness"]["retried"] > 0  # the preflight meets some too
    assert [item["answered"] for item in stats["items"].values()] == [1] * n


def test_a_question_that_fails_for_good_leaves_no_score(tmp_path: Path, tables: dict[str, Path]) -> None:
    fault = {"match": {"item": "weekday/3"}, "action": "status", "status": 500}
    with running_endpoint(answers=[tables["reasoning"]], share=0.5, faults=[fault]) as endpoint:
        ended = run(tmp_path, endpoint.url, "reasoning", "chat", max_retries=1)
    assert ended.code == 5, ended.err
    results = task_results(tmp_path, "native.reasoning")
    assert results["results"]["tasks"] == {}
    counts = {"expected": ITEMS, "scored": ITEMS - 1, "errored": 1}
    assert results["completeness"] | counts == results["completeness"]


def test_a_limit_and_repeats_are_counted(tmp_path: Path, tables: dict[str, Path]) -> None:
    with running_endpoint(answers=[tables["arithmetic"]], share=1.0) as endpoint:
        ended = run(tmp_path, endpoint.url, "arithmetic", "chat", limit_samples=6, repeats=3, temperature=0.5)
        asked = [item["asked"] for item in endpoint.stats()["items"].values() if item["asked"]]
    assert ended.code == 0, ended.err
    assert asked == [3] * 6
    results = task_results(tmp_path, "native.arithmetic")
    check(results, "arithmetic", 1.0, 6, repeats=3)
    assert f"sampled 6 of {ITEMS} with seed {SEED}" in results["notes"]


def own_questions(folder: Path) -> tuple[Path, Path]:
    """Write eight questions with choices, and their answer table for either way of asking."""
    rows = [
        {"id": n, "prompt": f"Number {n:02}: which is hot?", "choices": ["ice", "fire"], "answer": "B"}
        for n in range(8)
    ]
    (folder / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = [
        {"id": str(r["id"]), "match": r["prompt"], "kind": "choice", "choices": r["choices"], "right": 1}
        for r in rows
    ]
    (folder / "table.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "own.jsonl", folder / "table.jsonl"


@pytest.mark.usefixtures("tables")
def test_the_users_own_questions_are_proven_against_the_users_own_file(tmp_path: Path) -> None:
    own, table = own_questions(tmp_path)
    with running_endpoint(answers=[table], share=0.75) as endpoint:
        extra = {"file": str(own)}
        ended = run(tmp_path, endpoint.url, "multiple_choice", "completions_logprob", extra=extra)
    assert ended.code == 0, ended.err
    results = task_results(tmp_path, "native.multiple_choice")
    for metric in ("acc", "acc_norm"):
        check(results, "multiple_choice", 0.75, 8, metric)
    facts = results["provenance"]["facts"]
    assert facts["file_sha256"] == hashlib.sha256(own.read_bytes()).hexdigest()
    assert facts["file_records"] == 8


@pytest.mark.usefixtures("tables")
def test_a_row_that_is_wrong_is_named_by_its_line(tmp_path: Path) -> None:
    own, table = own_questions(tmp_path)
    own.write_text(own.read_text() + '{"id": 3, "prompt": "?", "choices": ["a", "b"], "answer": "A"}\n')
    with running_endpoint(answers=[table]) as endpoint:
        ended = run(tmp_path, endpoint.url, "multiple_choice", "chat", extra={"file": str(own)})
        asked = sum(item["asked"] for item in endpoint.stats()["items"].values())
    assert ended.code == 2
    log = (only_run(tmp_path) / "native.multiple_choice" / "logs" / "ask.log").read_text()
    assert 'params.extra.file:9: the id "3" stands in line 4 already' in log
    assert asked == 0


def test_podman_gives_the_same_score(
    tmp_path: Path, tables: dict[str, Path], images: dict[str, LockedImage]
) -> None:
    with (
        podman_with(images["entrypoints"]),
        running_endpoint(answers=[tables["smoke"]], share=0.7) as endpoint,
    ):
        ended = run(tmp_path, endpoint.url, "smoke", "chat", engine="podman")
    assert ended.code == 0, ended.err
    check(task_results(tmp_path, "native.smoke"), "smoke", 0.7, 10)
