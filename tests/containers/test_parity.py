"""Parity: lm-eval run natively, without any code of ours, prints the same metrics to the last digit."""

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import docker
import pytest
import uv
import yaml
from tests.containers.answers import lm_eval_answers
from tests.kit.cli import run_document, scores, task_results

from evaldock.supply.index import read_index_settings
from evaldock.supply.lock import LockedImage
from evaldock.supply.paths import checkout_root
from evaldock.supply.secrets import uv_environment
from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint

pytestmark = [pytest.mark.containers, pytest.mark.slow]

LIMIT = 25
MULTIPLE_CHOICE = {  # task → the packaged file to override, because the data has no training split
    "arc_easy": "arc/arc_easy.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "piqa": "piqa/piqa.yaml",
    "openbookqa": "openbookqa/openbookqa.yaml",
}
GENERATED = {"gsm8k": "gsm8k/gsm8k.yaml"}


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A native environment from the harness's own lock file."""
    folder = tmp_path_factory.mktemp("native")
    lock = checkout_root() / "harnesses" / "lm-eval" / "requirements.lock"
    binary = uv.find_uv_bin()
    subprocess.run(
        [binary, "venv", "--quiet", "--python", "3.11", str(folder / "venv")], check=True, timeout=60
    )
    python = folder / "venv" / "bin" / "python"
    argv = [binary, "pip", "install", "--quiet", "--require-hashes", "--python", str(python), "-r", str(lock)]
    environment = os.environ | uv_environment(read_index_settings(), folder)
    subprocess.run(argv, check=True, timeout=600, env=environment)
    return folder


@pytest.fixture(scope="module")
def data(client: docker.DockerClient, images: dict[str, LockedImage], native: Path) -> Path:
    """The image's data, copied out of it."""
    container = client.containers.create(images["lm-eval"].image_id, ["true"])
    try:
        stream, _ = container.get_archive("/opt/data")
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
            archive.extractall(native, filter="data")
    finally:
        container.remove()
    return native / "data"


def native_scores(
    native: Path, data: Path, tasks: dict[str, str], *, model: str, arguments: list[str]
) -> dict[str, dict[str, Any]]:
    """Run plain `lm_eval run` and return its results by task."""
    include = native / f"include-{model}"
    include.mkdir()
    packaged = next((native / "venv" / "lib").glob("python3*")) / "site-packages" / "lm_eval" / "tasks"
    for task, file in tasks.items():
        override = {"include": str(packaged / file), "task": task, "training_split": None}
        if task in GENERATED:
            override |= {"fewshot_split": None, "fewshot_config": None}
        (include / f"{task}.yaml").write_text(yaml.safe_dump(override), encoding="utf-8")
    output = native / f"out-{model}"
    argv = [str(native / "venv" / "bin" / "lm_eval"), "run", "--model", model, *arguments]
    argv += ["--tasks", ",".join(tasks), "--include_path", str(include), "--num_fewshot", "0"]
    argv += ["--limit", str(LIMIT), "--seed", "42", "--output_path", str(output), "--log_samples"]
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(native / "hf"),
        "OPENAI_API_KEY": "none",
    }
    done = subprocess.run(
        argv, cwd=data, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (file_,) = output.glob("*/results_*.json")
    results: dict[str, dict[str, Any]] = json.loads(file_.read_text(encoding="utf-8"))["results"]
    return results


def assert_same(ours: dict[str, dict[str, Any]], theirs: dict[str, Any]) -> None:
    """Compare every metric that lm-eval printed, value and standard error."""
    printed = {
        name.removesuffix(",none"): value
        for name, value in theirs.items()
        if "," in name and "_stderr" not in name and isinstance(value, float | int)
    }
    assert set(ours) == set(printed)
    for name, value in printed.items():
        metric, _, filter_name = name.partition(",")
        stderr = theirs[f"{metric}_stderr,{filter_name or 'none'}"]
        assert ours[name]["value"] == value
        assert ours[name]["stderr"] == pytest.approx(stderr, rel=1e-12)


def document(endpoint: RunningEndpoint, tasks: dict[str, str], endpoint_type: str) -> dict[str, Any]:
    return {
        "target": {
            "api_endpoint": {"url": f"{endpoint.url}/v1", "model_id": "fake-model", "type": endpoint_type}
        },
        "evaluation": {
            "params": {"limit_samples": LIMIT, "extra": {"num_fewshot": 0}},
            "tasks": [f"lm-eval.{task}" for task in tasks],
        },
    }


def test_log_probability_tasks_agree_to_the_last_digit(tmp_path: Path, native: Path, data: Path) -> None:
    # No answer table: the endpoint's log-probabilities are noise, the same for the same prompt, so that the
    # scores are no round numbers.
    with running_endpoint() as endpoint:
        ended = run_document(document(endpoint, MULTIPLE_CHOICE, "completions_logprob"), tmp_path)
        assert ended.code == 0, ended.err
        arguments = ["--model_args", f"model=fake-model,base_url={endpoint.url}/v1/completions"]
        arguments[1] += ",tokenizer_backend=remote,num_concurrent=8"
        theirs = native_scores(native, data, MULTIPLE_CHOICE, model="local-completions", arguments=arguments)
    for task in MULTIPLE_CHOICE:
        assert_same(scores(task_results(tmp_path, f"lm-eval.{task}"), task), theirs[task])


def test_a_generation_task_agrees_to_the_last_digit(
    tmp_path: Path, native: Path, data: Path, client: docker.DockerClient, images: dict[str, LockedImage]
) -> None:
    table = lm_eval_answers(client, images["lm-eval"], "gsm8k", LIMIT, tmp_path)
    with running_endpoint(answers=[table], share=0.6) as endpoint:
        ended = run_document(document(endpoint, GENERATED, "chat"), tmp_path)
        assert ended.code == 0, ended.err
        arguments = ["--model_args", f"model=fake-model,base_url={endpoint.url}/v1/chat/completions"]
        arguments[1] += ",num_concurrent=8"
        arguments += ["--apply_chat_template", "--gen_kwargs", "temperature=0.0,top_p=1.0,max_gen_toks=512"]
        theirs = native_scores(native, data, GENERATED, model="local-chat-completions", arguments=arguments)
    assert_same(scores(task_results(tmp_path, "lm-eval.gsm8k"), "gsm8k"), theirs["gsm8k"])
