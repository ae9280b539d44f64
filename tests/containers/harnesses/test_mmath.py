"""mmath against the seeded endpoint: a vendor's wheel as it is, and what it keeps to itself."""

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
from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint

pytestmark = [pytest.mark.containers, pytest.mark.slow]

LIMIT = 32  # 30 of AIME 2024 and two of AIME 2025


@pytest.fixture(scope="module")
def tables(
    client: docker.DockerClient, images: dict[str, LockedImage], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The first problems in three languages."""
    folder = tmp_path_factory.mktemp("mmath")
    return {
        language: answer_table(
            client, images["mmath"], ["mmath_answers.py", language, str(LIMIT)], folder / f"{language}.jsonl"
        )
        for language in ("en", "vi", "ja")
    }


def run(
    tmp_path: Path, endpoint: RunningEndpoint, task: str, model: str = "fake-model", **params: Any
) -> Ended:
    asked = {"limit_samples": LIMIT, "max_retries": 2, **params}
    tree = {
        "target": {"api_endpoint": {"url": f"{endpoint.url}/v1", "model_id": model}},
        "evaluation": {"tasks": [{"name": task, "params": asked}]},
    }
    return run_document(tree, tmp_path)


def check_three_quarters(tmp_path: Path) -> dict[str, Any]:
    results = task_results(tmp_path, "mmath.mmath_en")
    found = scores(results, "mmath_en")["accuracy"]
    assert (found["value"], found["n"]) == (0.75, LIMIT)
    assert found["stderr"] == pytest.approx(math.sqrt(0.75 * 0.25 / (LIMIT - 1)), abs=1e-12)
    counts = {"expected": LIMIT, "scored": LIMIT, "errored": 0}
    assert results["completeness"] | counts == results["completeness"]
    return results


def test_the_share_that_was_right_is_reported_and_the_wheel_s_mean_of_means_beside_it(
    tmp_path: Path, tables: dict[str, Path]
) -> None:
    with running_endpoint(answers=[tables["en"]], share=0.75) as endpoint:
        ended = run(tmp_path, endpoint, "mmath_en")
        stats = endpoint.stats()
    assert ended.code == 0, ended.err
    results = check_three_quarters(tmp_path)
    assert [item["asked"] for item in stats["items"].values()] == [1] * LIMIT
    parts = [scores(results, source)["accuracy"] for source in ("AIME2024", "AIME2025")]
    assert [part["n"] for part in parts] == [30, 2]
    whole = scores(results, "MMATH", "groups")["mean_of_sources"]["value"]
    assert whole == pytest.approx(sum(part["value"] for part in parts) / 2)
    assert "head of the set" in str(results)


def test_requests_that_fail_once_change_nothing(tmp_path: Path, tables: dict[str, Path]) -> None:
    busy = {"match": {"share": 0.2, "first_n": 1}, "action": "status", "status": 429}
    with running_endpoint(answers=[tables["en"]], share=0.75, faults=[busy]) as endpoint:
        ended = run(tmp_path, endpoint, "mmath_en")
        assert endpoint.stats()["statuses"].get("429", 0) > 0
    assert ended.code == 0, ended.err
    check_three_quarters(tmp_path)


def test_repeats_are_asked_and_scored_each_though_the_wheel_scores_the_first_alone(
    tmp_path: Path, tables: dict[str, Path]
) -> None:
    with running_endpoint(answers=[tables["ja"]], share=0.5) as endpoint:
        ended = run(tmp_path, endpoint, "mmath_ja", repeats=2, limit_samples=8)
        asked = [item["asked"] for item in endpoint.stats()["items"].values() if item["asked"]]
        bodies = [json.loads(request["body"]) for request in endpoint.last_requests()]
    assert ended.code == 0, ended.err
    assert asked == [2] * 8  # in Japanese, which the wheel's own definition forgot
    assert {body.get("n", 1) for body in bodies} == {1}
    results = task_results(tmp_path, "mmath.mmath_ja")
    assert results["completeness"]["scored"] == 16
    assert scores(results, "mmath_ja")["accuracy"]["n"] == 8


def test_a_question_that_fails_for_good_is_no_score_and_all_that_a_resumed_run_asks(
    tmp_path: Path, tables: dict[str, Path]
) -> None:
    """The wheel scores it with the answer to another question, prints its figures and ends with status 0."""
    broken = {"match": {"item": "mmath/3"}, "action": "status", "status": 500}
    with running_endpoint(answers=[tables["en"]], share=0.75, faults=[broken]) as endpoint:
        first = run(tmp_path, endpoint, "mmath_en")
        assert first.code == 5, first.err
        results = task_results(tmp_path, "mmath.mmath_en")
        assert results["results"]["tasks"] == results["results"]["groups"] == {}
        assert results["completeness"]["errored"] == 1
        (answers,) = only_run(tmp_path).glob("mmath.mmath_en/native/output/fake-model/en.json")
        problems = json.loads(answers.read_text(encoding="utf-8"))
        assert problems[3]["prediction_3"] == problems[0]["prediction_0"]
        answered = [name for name, item in endpoint.stats()["items"].items() if item["answered"]]
        endpoint.reset(faults=[])
        again = evaldock("resume", only_run(tmp_path).name, cwd=tmp_path)
        asked = {name: item["asked"] for name, item in endpoint.stats()["items"].items() if item["asked"]}
    assert again.code == 0, again.err
    assert asked == {"mmath/3": 1}
    assert len(answered) == LIMIT - 1
    check_three_quarters(tmp_path)


def test_a_model_id_that_a_shell_interprets_is_refused(
    tmp_path: Path, images: dict[str, LockedImage], engine_host: str
) -> None:
    del engine_host
    images["mmath"]
    with running_endpoint(model="m;reboot") as endpoint:
        ended = run(tmp_path, endpoint, "mmath_en", model="m;reboot")
    assert ended.code == 2, ended.err
    assert "target.api_endpoint.model_id" in ended.err


@pytest.mark.parametrize("language", ["en", "vi"])
def test_scores_are_those_of_the_plain_program_to_the_last_digit(
    tmp_path: Path,
    client: docker.DockerClient,
    images: dict[str, LockedImage],
    tables: dict[str, Path],
    language: str,
) -> None:
    """The wheel's own command line in the harness's environment, without any code of ours."""
    with running_endpoint(answers=[tables[language]], share=0.6) as endpoint:
        ended = run(tmp_path, endpoint, f"mmath_{language}")
        assert ended.code == 0, ended.err
        argv = ["/opt/harness/bin/mmath", "--model-url", f"{endpoint.url}/v1", "--model-name", "fake-model"]
        argv += ["--output-dir", "/out", "--lang", language, "--limit", str(LIMIT)]
        plain = tmp_path / "plain"
        plain.mkdir()
        client.containers.run(
            images["mmath"].image_id,
            argv,
            environment={"OPENAI_API_KEY": "none", "HOME": "/tmp"},
            mounts=[docker.types.Mount(target="/out", source=str(plain), type="bind")],
            network_mode="host",
            user=f"{os.getuid()}:{os.getgid()}",
            remove=True,
        )
    printed = json.loads((plain / "fake-model" / f"metrics_{language}.json").read_text(encoding="utf-8"))
    results = task_results(tmp_path, f"mmath.mmath_{language}")
    ours = {source: scores(results, source)["accuracy"]["value"] for source in ("AIME2024", "AIME2025")}
    ours["micro_avg"] = scores(results, "MMATH", "groups")["mean_of_sources"]["value"]
    assert ours == printed
