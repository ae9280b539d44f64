"""The commands that are typed into harness images, in ours and in the vendor's spelling."""

import json
from dataclasses import dataclass

import docker
import pytest

from evaldock.supply.lock import LockedImage

pytestmark = [pytest.mark.containers, pytest.mark.usefixtures("engine_host")]

ENDPOINT = ("--model_url", "http://127.0.0.1:9/v1", "--model_id", "m")


@dataclass(frozen=True, kw_only=True)
class Said:
    """How a command in a container ended."""

    code: int
    out: str
    err: str


def typed(client: docker.DockerClient, image: LockedImage, *argv: str) -> Said:
    """Run a command in the image as any user of it would: another uid, no network."""
    container = client.containers.create(
        image.image_id, list(argv), user="4242:4242", network_mode="none", labels={"test": "commands"}
    )
    try:
        container.start()
        code = container.wait(timeout=60)["StatusCode"]
        out = container.logs(stdout=True, stderr=False).decode()
        return Said(code=code, out=out, err=container.logs(stdout=False, stderr=True).decode())
    finally:
        container.remove(force=True)


@pytest.mark.parametrize(
    "command", [("run_eval",), ("eval-factory", "run_eval"), ("nemo-evaluator", "run_eval")]
)
def test_every_spelling_runs_the_same_task(
    client: docker.DockerClient, images: dict[str, LockedImage], command: tuple[str, ...]
) -> None:
    flags = (
        "--eval_type",
        "lm-evaluation-harness.gsm8k_cot",
        *ENDPOINT,
        "--output_dir",
        "/results",
        "--dry_run",
    )
    said = typed(client, images["lm-eval"], *command, *flags)
    assert said.code == 0, said.err
    plan = json.loads(said.out)
    assert (plan["task"], plan["endpoint"]["model_id"]) == ("lm-eval.gsm8k_cot", "m")


@pytest.mark.parametrize("command", [("run_eval", "ls"), ("eval-factory", "ls"), ("nemo-evaluator", "ls")])
def test_every_spelling_lists_the_tasks(
    client: docker.DockerClient, images: dict[str, LockedImage], command: tuple[str, ...]
) -> None:
    tasks = {task["name"] for task in json.loads(typed(client, images["lm-eval"], *command, "--json").out)}
    assert {"gsm8k", "mmlu_pro", "arc_easy"} <= tasks


def test_a_task_is_described(client: docker.DockerClient, images: dict[str, LockedImage]) -> None:
    said = typed(client, images["human-eval"], "run_eval", "describe", "humaneval")
    assert json.loads(said.out)["primary_metric"] == "pass@1"


def test_the_command_of_the_sources_is_understood_and_said_not_to_be_built(
    client: docker.DockerClient, images: dict[str, LockedImage]
) -> None:
    """docker run IMAGE eval-factory run_eval --eval_type … --model_path … --output_dir …"""
    command = ("eval-factory", "run_eval", "--eval_type", "mmlu_pro", "--model_path", "/models/llama-3.1-8b")
    planned = typed(client, images["lm-eval"], *command, "--output_dir", "/results", "--dry_run")
    assert planned.code == 0, planned.err
    assert json.loads(planned.out)["serve"][2] == "/models/llama-3.1-8b"
    refused = typed(client, images["lm-eval"], *command, "--output_dir", "/results")
    assert refused.code == 2
    assert "not built yet" in refused.err
    assert "next: " in refused.err


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("run_eval", "--eval_typ", "x"), 2, 'did you mean "--eval_type"'),
        (("run_eval", "--eval_type", "gsm9k", *ENDPOINT, "--output_dir", "/tmp/r"), 2, '"gsm8k"'),
        (("run_eval", "--eval_type", "gsm8k_cot", *ENDPOINT, "--output_dir", "/tmp/r"), 3, "does not answer"),
        (("run_eval", "check", *ENDPOINT), 3, "127.0.0.1:9"),
        (("eval-factory", "run_eval", "--eval_type", "gsm8k_cot"), 2, "--model_url"),
    ],
)
def test_what_is_wrong_has_the_contracts_exit_code(
    client: docker.DockerClient,
    images: dict[str, LockedImage],
    argv: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    said = typed(client, images["lm-eval"], *argv)
    assert said.code == code, said.err
    assert message in said.out + said.err
    assert "Traceback" not in said.err
