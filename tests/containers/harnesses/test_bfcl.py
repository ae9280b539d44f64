"""BFCL against the seeded endpoint, and against bfcl run natively without any code of ours."""

import io
import json
import math
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker
import pytest
import uv
import zstandard
from tests.kit.bfcl_answers import cases, write_answers
from tests.kit.cli import only_run, run_document, scores, task_results

from evaldock.supply.index import read_index_settings
from evaldock.supply.lock import LockedImage
from evaldock.supply.paths import checkout_root
from evaldock.supply.secrets import uv_environment
from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock.testkit.fake_endpoint.stats import Stats

pytestmark = [pytest.mark.containers, pytest.mark.slow]

LIMIT, SEED, SHARE = 12, 42, 0.75  # of so many no two cases have the same text
CONVERSATIONS = Path(__file__).parents[2] / "kit" / "bfcl_conversations.py"
NON_LIVE = ("simple_python", "simple_java", "simple_javascript", "multiple", "parallel", "parallel_multiple")
PLAIN = """
import sys, types
sys.modules["soundfile"] = types.ModuleType("soundfile")  # undeclared by a library of bfcl's
from bfcl_eval.__main__ import cli
from bfcl_eval.constants.model_config import MODEL_CONFIG_MAPPING, ModelConfig
from bfcl_eval.model_handler.api_inference.openai_completion import OpenAICompletionsHandler as Handler
MODEL_CONFIG_MAPPING["plain"] = ModelConfig(
    model_name="fake-model", display_name="plain", url="", org="", license="",
    model_handler=Handler, is_fc_model=True, underscore_to_dot=True,
)
cli(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def data(
    client: docker.DockerClient, images: dict[str, LockedImage], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The image's data, copied out of it."""
    folder = tmp_path_factory.mktemp("bfcl-data")
    container = client.containers.create(images["bfcl"].image_id, ["true"])
    try:
        stream, _ = container.get_archive("/opt/data")
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
            archive.extractall(folder, filter="data")
    finally:
        container.remove()
    return folder / "data"


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a native environment from the harness's own lock file."""
    folder = tmp_path_factory.mktemp("bfcl-native")
    lock = checkout_root() / "harnesses" / "bfcl" / "requirements.lock"
    python = folder / "venv" / "bin" / "python"
    settings = os.environ | uv_environment(read_index_settings(), folder)
    binary = uv.find_uv_bin()
    argv = [binary, "venv", "--quiet", "--python", "3.11", str(folder / "venv")]
    subprocess.run(argv, check=True, timeout=60)
    argv = [binary, "pip", "sync", "--quiet", "--require-hashes", "--python", str(python), str(lock)]
    subprocess.run(argv, check=True, timeout=600, env=settings)
    return python


def chosen(data: Path, category: str, limit: int) -> list[str]:
    """Return the ids that a seeded limit leaves."""
    ids = [case["id"] for case in cases(data, category)]
    wanted = set(random.Random(SEED).sample(sorted(ids), limit))
    return [case for case in ids if case in wanted]


def document(url: str, *tasks: str, **params: Any) -> dict[str, Any]:
    return {
        "target": {"api_endpoint": {"url": f"{url}/v1", "model_id": "fake-model"}},
        "evaluation": {"params": params, "tasks": [f"bfcl.{task}" for task in tasks]},
    }


def right_share(stats: Stats, ids: list[str]) -> float:
    """Return the share of these cases that the endpoint answered right, each asked once."""
    items = [stats["items"][case] for case in ids]
    assert [item["asked"] for item in items] == [1] * len(ids)
    return sum(item["right"] for item in items) / len(ids)


def samples(cwd: Path, task: str) -> list[dict[str, Any]]:
    path = only_run(cwd) / f"bfcl.{task}" / "samples.jsonl.zst"
    with zstandard.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def plain_bfcl(
    python: Path, folder: Path, endpoint: RunningEndpoint, ids: Mapping[str, list[str]]
) -> dict[str, dict[str, Any]]:
    """Run bfcl's own command line on these cases and return the first line of each score file."""
    folder.mkdir()
    (folder / "test_case_ids_to_generate.json").write_text(json.dumps(ids), encoding="utf-8")
    environment = {
        **os.environ,
        "BFCL_PROJECT_ROOT": str(folder),
        "OPENAI_BASE_URL": f"{endpoint.url}/v1",
        "OPENAI_API_KEY": "none",
    }
    model = ["--model", "plain"]
    for argv in (
        ["generate", *model, "--run-ids", "--num-threads", "8"],
        ["evaluate", *model, "--test-category", ",".join(ids), "--partial-eval"],
    ):
        argv = [str(python), "-c", PLAIN, *argv]
        done = subprocess.run(
            argv, env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
    files = {category: folder / f"score/plain/non_live/BFCL_v4_{category}_score.json" for category in ids}
    return {
        category: json.loads(file.read_text(encoding="utf-8").splitlines()[0])
        for category, file in files.items()
    }


def test_native_calls_score_as_many_as_were_right_and_as_bfcl_itself_says(
    tmp_path: Path, data: Path, native: Path
) -> None:
    categories = ("simple_python", "multiple")
    ids = {category: chosen(data, category, LIMIT) for category in categories}
    tables = [
        write_answers(data, category, "native", ids[category], tmp_path / f"{category}.jsonl")
        for category in categories
    ]
    with running_endpoint(answers=tables, share=SHARE, latency_ms=50) as endpoint:
        tasks = [f"bfcl_v4_{category}" for category in categories]
        tree = document(
            endpoint.url, *tasks, limit_samples=LIMIT, temperature=0.25, max_new_tokens=77, parallelism=3
        )
        ended = run_document(tree, tmp_path)
        assert ended.code == 0, ended.err
        stats = endpoint.stats()
        asked = [json.loads(request["body"]) for request in endpoint.last_requests()]
        printed = plain_bfcl(native, tmp_path / "plain", endpoint, ids)
    for category in categories:
        found = scores(task_results(tmp_path, f"bfcl.bfcl_v4_{category}"), f"bfcl_v4_{category}")["acc"]
        assert found["value"] == right_share(stats, ids[category]) == SHARE
        assert found["n"] == printed[category]["total_count"] == LIMIT
        assert found["stderr"] == pytest.approx(math.sqrt(SHARE * (1 - SHARE) / (LIMIT - 1)), abs=1e-12)
        assert found["value"] == printed[category]["accuracy"]
    sent = [body for body in asked if "tools" in body]
    assert len(sent) == 2 * LIMIT
    assert {(b["temperature"], b["max_tokens"], b["seed"], b["top_p"]) for b in sent} == {
        (0.25, 77, SEED, 1.0)
    }
    assert 1 < stats["max_concurrency"] <= 3


def test_a_part_of_a_group_asked_in_prompts_has_the_groups_accuracy_and_no_overall_one(
    tmp_path: Path, data: Path
) -> None:
    limit = 4
    ids = {category: chosen(data, category, limit) for category in (*NON_LIVE, "irrelevance")}
    tables = [
        write_answers(data, category, "prompt", found, tmp_path / f"{category}.jsonl")
        for category, found in ids.items()
    ]
    busy = {"match": {"route": "chat", "share": 0.2, "first_n": 1}, "action": "status", "status": 429}
    with running_endpoint(answers=tables, share=0.5, faults=[busy]) as endpoint:
        ended = run_document(
            document(endpoint.url, "bfcl_v4_non_live_prompting", limit_samples=limit), tmp_path
        )
        stats = endpoint.stats()
    assert ended.code == 0, ended.err
    assert stats["statuses"]["429"] > 0
    task = "bfcl_v4_non_live_prompting"
    results = task_results(tmp_path, f"bfcl.{task}")
    assert results["completeness"]["expected"] == results["completeness"]["scored"] == 7 * limit
    assert {case: item["answered"] for case, item in stats["items"].items() if item["answered"] != 1} == {}
    for category in (*NON_LIVE, "irrelevance"):
        found = scores(results, f"bfcl_v4_{category}_prompting")["acc"]
        assert (found["value"], found["n"]) == (0.5, limit)
    group = scores(results, task, "groups")["acc"]
    assert (group["value"], group["n"]) == (0.5, 6 * limit)
    assert set(results["results"]["groups"]) == {task}
    left = [path.name for path in (only_run(tmp_path) / f"bfcl.{task}").rglob("*.csv")]
    assert left == []  # bfcl's tables, in which a category that was not asked counts 0
    assert "limit_samples 4 of each category: seed 42" in results["notes"]


def test_an_error_that_bfcl_counts_as_right_is_none(tmp_path: Path, data: Path) -> None:
    task, limit = "bfcl_v4_irrelevance", 6
    ids = chosen(data, "irrelevance", limit)
    table = write_answers(data, "irrelevance", "native", ids, tmp_path / "irrelevance.jsonl")
    dead = {"match": {"item": ids[0]}, "action": "status", "status": 500}
    with running_endpoint(answers=[table], share=1.0, faults=[dead]) as endpoint:
        ended = run_document(document(endpoint.url, task, limit_samples=limit, max_retries=1), tmp_path)
    assert ended.code == 5, ended.err
    results = task_results(tmp_path, f"bfcl.{task}")
    assert (results["results"]["tasks"], results["completeness"]["errored"]) == ({}, 1)
    (score_file,) = only_run(tmp_path).rglob("BFCL_v4_irrelevance_score.json")
    printed = json.loads(score_file.read_text(encoding="utf-8").splitlines()[0])
    assert printed == {"accuracy": 1.0, "correct_count": limit, "total_count": limit}


def test_conversations_are_led_and_scored(tmp_path: Path, data: Path) -> None:
    category, limit = "multi_turn_base", 5
    wrong = "multi_turn_base_1"
    argv = [sys.executable, str(CONVERSATIONS), str(data / "BFCL_v4"), category, wrong]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            tree = document(url, f"bfcl_v4_{category}", limit_samples=limit, extra={"sampling": "head"})
            ended = run_document(tree, tmp_path)
        finally:
            server.kill()
    assert ended.code == 0, ended.err
    verdicts = {sample["id"]: sample["correct"] for sample in samples(tmp_path, f"bfcl_v4_{category}")}
    # A call with an argument that has no name, as the first conversation needs it, cannot be made natively.
    assert verdicts == {f"{category}_{number}": number not in (0, 1) for number in range(limit)}


def test_an_interrupted_run_ends_at_once_and_leaves_nothing_running(
    tmp_path: Path, client: docker.DockerClient, images: dict[str, LockedImage]
) -> None:
    assert images["bfcl"].image_id
    hang = {"match": {"body_contains": "tools"}, "action": "hang"}
    with running_endpoint(faults=[hang]) as endpoint:
        tree = document(endpoint.url, "bfcl_v4_live_parallel")
        (tmp_path / "eval.yaml").write_text(json.dumps(tree), encoding="utf-8")
        argv = [sys.executable, "-c", "from evaldock.cli.main import main; main()", "run", "eval.yaml"]
        with subprocess.Popen(argv, cwd=tmp_path) as process:
            try:
                wait_until_asked(endpoint)
                started_s = time.monotonic()
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=60) == 75
                took_s = time.monotonic() - started_s
            finally:
                process.terminate()
    assert took_s < 10
    label = f"io.evaldock.run={only_run(tmp_path).name}"
    assert client.containers.list(all=True, filters={"label": label}) == []
    assert task_results(tmp_path, "bfcl.bfcl_v4_live_parallel")["status"] == "interrupted"


def wait_until_asked(endpoint: RunningEndpoint) -> None:
    """Wait until bfcl's requests hang: its interpreter has all its libraries, and their signal handlers."""
    deadline = time.monotonic() + 120
    while not endpoint.stats()["faults"].get("hang"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
