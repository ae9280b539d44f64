"""simple-evals against the seeded endpoint: a vendor's wheel as it is, and what it keeps to itself."""

import json
import math
import os
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.containers.answers import answer_table
from tests.kit.cli import Ended, evaldock, only_run, run_document, scores, task_results

from evaldock.supply.lock import LockedImage
from evaldock.testkit.fake_endpoint import running_endpoint

pytestmark = [pytest.mark.containers, pytest.mark.slow]

LIMIT = 20
LETTERS = "ABCDEFGHIJ"


@pytest.fixture(scope="module")
def tables(
    client: docker.DockerClient, images: dict[str, LockedImage], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The first questions, and what a judge is asked of the right answers to them."""
    folder = tmp_path_factory.mktemp("simple-evals")
    return {
        kind: answer_table(
            client,
            images["simple-evals"],
            ["simple_evals_answers.py", kind, str(LIMIT)],
            folder / f"{kind}.jsonl",
        )
        for kind in ("mmlu", "math", "judge")
    }


def document(url: str, task: str, **params: Any) -> dict[str, Any]:
    asked = {"limit_samples": LIMIT, "max_retries": 2, **params}
    return {
        "target": {"api_endpoint": {"url": f"{url}/v1", "model_id": "fake-model"}},
        "evaluation": {"tasks": [{"name": f"simple-evals.{task}", "params": asked}]},
    }


def run(tmp_path: Path, url: str, task: str, **params: Any) -> Ended:
    return run_document(document(url, task, **params), tmp_path)


def check(tmp_path: Path, task: str, share: float, repeats: int = 1) -> dict[str, Any]:
    results = task_results(tmp_path, f"simple-evals.{task}")
    found = scores(results, task)["accuracy"]
    assert (found["value"], found["n"]) == (share, LIMIT)
    assert found["stderr"] == pytest.approx(math.sqrt(share * (1 - share) / (LIMIT - 1)), abs=1e-12)
    whole = LIMIT * repeats
    counts = {"expected": whole, "scored": whole, "errored": 0}
    assert results["completeness"] | counts == results["completeness"]
    return results


def test_the_share_that_was_right_is_reported_and_the_head_of_the_set_is_called_so(
    tmp_path: Path, tables: dict[str, Path]
) -> None:
    with running_endpoint(answers=[tables["mmlu"]], share=0.75) as endpoint:
        ended = run(tmp_path, endpoint.url, "mmlu")
        stats = endpoint.stats()
    assert ended.code == 0, ended.err
    assert [item["asked"] for item in stats["items"].values()] == [1] * LIMIT
    results = check(tmp_path, "mmlu", 0.75)
    assert scores(results, "stem")["accuracy"]["n"] == LIMIT  # abstract algebra alone
    assert "first subjects" in str(results)


def test_requests_that_fail_once_change_nothing(tmp_path: Path, tables: dict[str, Path]) -> None:
    busy = {"match": {"share": 0.2, "first_n": 1}, "action": "status", "status": 429}
    with running_endpoint(answers=[tables["mmlu"]], share=0.75, faults=[busy]) as endpoint:
        ended = run(tmp_path, endpoint.url, "mmlu")
        assert endpoint.stats()["statuses"].get("429", 0) > 0
    assert ended.code == 0, ended.err
    check(tmp_path, "mmlu", 0.75)


def test_the_standard_error_over_repeats_is_of_questions_and_not_of_arrivals(
    tmp_path: Path, tables: dict[str, Path]
) -> None:
    with running_endpoint(answers=[tables["math"]], share=0.5) as endpoint:
        ended = run(tmp_path, endpoint.url, "math_test_500_nemo", repeats=2)
        asked = [item["asked"] for item in endpoint.stats()["items"].values()]
    assert ended.code == 0, ended.err
    assert asked == [2] * LIMIT
    check(tmp_path, "math_test_500_nemo", 0.5, repeats=2)


def test_a_judge_of_the_document_compares_the_answers(tmp_path: Path, tables: dict[str, Path]) -> None:
    with (
        running_endpoint(answers=[tables["math"]], share=0.75) as endpoint,
        running_endpoint(answers=[tables["judge"]], share=1.0) as judge,
    ):
        tree = document(endpoint.url, "math_test_500", parallelism=2)
        tree["target"]["auxiliary"] = {"judge": {"url": f"{judge.url}/v1", "model_id": "fake-model"}}
        ended = run_document(tree, tmp_path)
        judged = judge.stats()["answers"]["generate"]["right"]
    assert ended.code == 0, ended.err
    assert judged == LIMIT * 0.75
    check(tmp_path, "math_test_500", 0.75)


def test_a_question_that_fails_for_good_is_no_score_and_all_that_a_resumed_run_asks(
    tmp_path: Path, tables: dict[str, Path]
) -> None:
    """The wheel's store of the first start, with its answers by their number alone, is not taken up."""
    broken = {"match": {"item": "mmlu/3"}, "action": "status", "status": 500}
    with running_endpoint(answers=[tables["mmlu"]], share=0.75, faults=[broken]) as endpoint:
        first = run(tmp_path, endpoint.url, "mmlu")
        assert first.code == 4, first.err
        assert task_results(tmp_path, "simple-evals.mmlu")["results"]["tasks"] == {}
        answered = [name for name, item in endpoint.stats()["items"].items() if item["answered"]]
        endpoint.reset(faults=[])
        again = evaldock("resume", only_run(tmp_path).name, cwd=tmp_path)
        asked = {name for name, item in endpoint.stats()["items"].items() if item["asked"]}
    assert again.code == 0, again.err
    assert "mmlu/3" in asked
    assert not set(answered) & asked
    check(tmp_path, "mmlu", 0.75)


def test_mounted_questions_are_asked_and_counted(
    tmp_path: Path, images: dict[str, LockedImage], engine_host: str
) -> None:
    del engine_host
    images["simple-evals"]
    folder = tmp_path / "data" / "TIGER-Lab" / "MMLU-Pro"
    folder.mkdir(parents=True)
    card = {"configs": [{"config_name": "default", "data_files": [{"split": "test", "path": "test.jsonl"}]}]}
    (folder / "README.md").write_text(f"---\n{json.dumps(card)}\n---\n", encoding="utf-8")
    rows = [
        {"question": f"Which letter has number {n}?", "options": list("klmnopqrst"), "answer": LETTERS[n]}
        for n in range(10)
    ]
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    table = tmp_path / "table.jsonl"
    items = [
        {"id": str(n), "match": row["question"], "kind": "generate"}
        | {"right": f"Answer: {row['answer']}", "wrong": "Answer: Z"}
        for n, row in enumerate(rows)
    ]
    table.write_text("\n".join(map(json.dumps, items)), encoding="utf-8")
    with running_endpoint(answers=[table], share=0.7) as endpoint:
        tree = document(endpoint.url, "mmlu_pro", limit_samples=None)
        ended = run_document({**tree, "data": {"path": str(tmp_path / "data")}}, tmp_path)
    assert ended.code == 0, ended.err
    results = task_results(tmp_path, "simple-evals.mmlu_pro")
    found = scores(results, "mmlu_pro")["accuracy"]
    assert (found["value"], found["n"], results["completeness"]["expected"]) == (0.7, 10, 10)


def test_an_extra_that_a_shell_interprets_is_refused(
    tmp_path: Path, images: dict[str, LockedImage], engine_host: str
) -> None:
    del engine_host
    images["simple-evals"]
    with running_endpoint() as endpoint:
        ended = run(tmp_path, endpoint.url, "mmlu", extra={"judge": {"backend": "$(reboot)"}})
        assert endpoint.stats()["requests"] <= 2  # the preflight's
    assert ended.code == 2, ended.err
    assert "judge.backend" in ended.err


@pytest.mark.parametrize(("task", "kind"), [("mmlu", "mmlu"), ("math_test_500_nemo", "math")])
def test_scores_are_those_of_the_plain_program_to_the_last_digit(
    tmp_path: Path,
    client: docker.DockerClient,
    images: dict[str, LockedImage],
    tables: dict[str, Path],
    task: str,
    kind: str,
) -> None:
    """The wheel's own command line in the harness's environment, without any code of ours."""
    with running_endpoint(answers=[tables[kind]], share=0.6) as endpoint:
        ended = run(tmp_path, endpoint.url, task)
        assert ended.code == 0, ended.err
        argv = ["/opt/harness/bin/simple_evals", "--model", "fake-model", "--eval_name", task]
        argv += ["--url", f"{endpoint.url}/v1/chat/completions", "--first_n", str(LIMIT)]
        argv += ["--out_dir", "/out", "--cache_dir", "/out/cache"]
        plain = tmp_path / "plain"
        plain.mkdir()
        client.containers.run(
            images["simple-evals"].image_id,
            argv,
            environment={
                "API_KEY": "none",
                "HOME": "/tmp",
                "HF_HUB_OFFLINE": "1",
                "HF_DATASETS_OFFLINE": "1",
            },
            mounts=[docker.types.Mount(target="/out", source=str(plain), type="bind")],
            network_mode="host",
            user=f"{os.getuid()}:{os.getgid()}",
            working_dir="/opt/data",
            remove=True,
        )
    printed = json.loads((plain / f"{task}.json").read_text(encoding="utf-8"))
    ours = scores(task_results(tmp_path, f"simple-evals.{task}"), task)["accuracy"]
    assert ours["value"] == printed["score"]
    assert ours["stderr"] == pytest.approx(printed["score:stderr"], rel=1e-12)
