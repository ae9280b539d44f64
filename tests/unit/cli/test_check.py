"""`evaldock check` and `run_eval check` as a person runs them."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kit.cli import evaldock
from tests.kit.raw_server import hang, raw_server

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock_entrypoints.contract.errors import ExitCode

pytestmark = pytest.mark.slow  # starts processes, or waits

KEY = "sk-check-canary-5"
ENV = {"CHECK_KEY": KEY, "WRONG_KEY": "sk-check-wrong-6", "NO_PROXY": "*"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[RunningEndpoint]:
    with running_endpoint(api_key_name="CHECK_KEY", env={"CHECK_KEY": KEY}) as running:
        yield running


def test_a_healthy_endpoint_passes_and_its_types_are_named(endpoint: RunningEndpoint, tmp_path: Path) -> None:
    ended = evaldock("check", endpoint.url, "--api_key_name", "CHECK_KEY", cwd=tmp_path, env=ENV)
    assert ended.code == 0, ended.err
    assert "refuses without a key (401), accepts with CHECK_KEY" in ended.out
    assert ended.out.endswith("can be used as: chat, completions, completions_logprob, embedding\n")
    assert ended.err == ""


def test_a_wrong_key_exits_3_with_the_variable_and_without_the_key(
    endpoint: RunningEndpoint, tmp_path: Path
) -> None:
    ended = evaldock("check", endpoint.url, "--api_key_name", "WRONG_KEY", cwd=tmp_path, env=ENV)
    assert ended.code == ExitCode.ENDPOINT
    assert "FAIL  key" in ended.out
    assert ended.err.startswith("evaldock: error: key: the endpoint refuses the key")
    assert "next: set the right key in WRONG_KEY" in ended.err
    assert ENV["WRONG_KEY"] not in ended.out + ended.err


def test_a_key_typed_in_the_place_of_its_variables_name_is_not_shown(tmp_path: Path) -> None:
    ended = evaldock("check", "http://127.0.0.1:9/v1", "--api_key_name", KEY, cwd=tmp_path, env=ENV)
    assert ended.code == ExitCode.USAGE
    assert "not the name of a variable" in ended.err
    assert KEY not in ended.out + ended.err


@pytest.mark.parametrize("end", ["\r", "\n", "\nmore", " ", "\u4e2d"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(
    endpoint: RunningEndpoint, tmp_path: Path, end: str
) -> None:
    env = {**ENV, "CHECK_KEY": KEY + end}
    for argv in (("check", endpoint.url), ("query", endpoint.url, "hi")):
        ended = evaldock(*argv, "--api_key_name", "CHECK_KEY", cwd=tmp_path, env=env)
        assert ended.code == ExitCode.USAGE, ended.err
        assert "  api_key_name: CHECK_KEY\n" in ended.err
        assert KEY not in ended.out + ended.err


def test_what_is_wrong_in_a_document_is_said_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text("target:\n  api_endpoint: {url: 'http://u:p@h/v1'}\n", encoding="utf-8")
    ended = evaldock("check", "e.yaml", cwd=tmp_path, env=ENV)
    assert ended.code == ExitCode.USAGE
    assert "e.yaml:2  target.api_endpoint.url" in ended.err


def test_json_is_machine_only_also_in_failure(endpoint: RunningEndpoint, tmp_path: Path) -> None:
    argv = ("check", endpoint.url, "--model_id", "fake-modle", "--json")
    ended = evaldock(*argv, "--api_key_name", "CHECK_KEY", cwd=tmp_path, env=ENV)
    assert ended.code == ExitCode.ENDPOINT
    assert ended.json["ok"] is False
    assert [one["what"] for one in ended.json["findings"] if one["status"] == "fail"] == ["model"]
    assert 'did you mean "fake-model"?' in ended.err


def test_an_unreachable_endpoint_exits_3_at_once(tmp_path: Path) -> None:
    ended = evaldock("check", "http://127.0.0.1:9/v1", "--model_id", "m", cwd=tmp_path, env=ENV)
    assert ended.code == ExitCode.ENDPOINT
    assert "connection refused" in ended.out
    assert "does not answer" in ended.err


def test_a_server_that_hangs_ends_the_command_in_its_time(tmp_path: Path) -> None:
    with raw_server(hang) as url:
        begun = time.monotonic()
        ended = evaldock("check", url, "--model_id", "m", "--timeout_s", "1", cwd=tmp_path, env=ENV)
        assert time.monotonic() - begun < 4.0
    assert ended.code == ExitCode.ENDPOINT
    assert "Traceback" not in ended.err


DOCUMENT = """
target: {{api_endpoint: {{url: "{url}/v1/completions", type: completions_logprob, api_key_name: CHECK_KEY}}}}
"""


def test_a_document_names_its_endpoint(endpoint: RunningEndpoint, tmp_path: Path) -> None:
    (tmp_path / "eval.yaml").write_text(DOCUMENT.format(url=endpoint.url), encoding="utf-8")
    ended = evaldock("check", "eval.yaml", cwd=tmp_path, env=ENV)
    assert ended.code == 0, ended.err
    assert ended.out.endswith("can be used as: completions_logprob\n")
    other = evaldock("check", "eval.yaml", "--type", "chat", cwd=tmp_path, env=ENV)
    assert other.out.endswith("can be used as: chat\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("deployment: {type: llamacpp, model_path: m.gguf, port: 8137}", "evaldock deploy eval.yaml"),
        ("evaluation: {tasks: [gsm8k]}", "names no endpoint"),
        ("target: {api_endpoint: {ulr: x}}", "ulr"),
    ],
)
def test_a_document_without_an_endpoint_is_a_usage_error(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "eval.yaml").write_text(text, encoding="utf-8")
    ended = evaldock("check", "eval.yaml", cwd=tmp_path, env=ENV)
    assert ended.code == ExitCode.USAGE
    assert words in ended.err
    assert ended.out == ""


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("none.yaml",), "none.yaml"),
        (("localhost:8080",), "not an http(s) address"),
        (("http://127.0.0.1:9/v1", "--api_key_name", "NO_SUCH_KEY"), "NO_SUCH_KEY"),
        (("http://127.0.0.1:9/v1", "--timeout_s", "0"), "--timeout_s"),
        (("http://127.0.0.1:9/v1", "--type", "chatty"), "chatty"),
    ],
)
def test_what_is_typed_wrong_is_a_usage_error(tmp_path: Path, argv: tuple[str, ...], words: str) -> None:
    ended = evaldock("check", *argv, cwd=tmp_path, env=ENV)
    assert ended.code == ExitCode.USAGE, ended.err
    assert words in ended.err


def run_eval_check(*argv: str) -> subprocess.CompletedProcess[str]:
    code = "from evaldock_entrypoints.run_eval.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "check", *argv],
        env={**ENV},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_image_asks_the_same(endpoint: RunningEndpoint) -> None:
    ended = run_eval_check("--model_url", endpoint.url, "--api_key_name", "CHECK_KEY", "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["usable_types"][0] == "chat"
    refused = run_eval_check("--model_url", endpoint.url)
    assert refused.returncode == ExitCode.ENDPOINT
    assert "FAIL  key" in refused.stdout


def test_waiting_in_the_image_asks_for_log_probabilities_only(endpoint: RunningEndpoint) -> None:
    endpoint.reset()
    argv = ("--model_url", endpoint.url, "--model_id", "fake-model", "--wait_s", "1")
    assert run_eval_check(*argv, "--api_key_name", "CHECK_KEY").returncode == 0
    assert endpoint.stats()["requests"] == 3
