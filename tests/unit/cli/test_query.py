"""`evaldock query`: one prompt, the answer on standard output, all else on standard error."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kit.cli import Ended, evaldock

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock_entrypoints.contract.errors import ExitCode

KEY = "sk-query-canary-8"
ENV = {"QUERY_KEY": KEY, "NO_PROXY": "*"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[RunningEndpoint]:
    with running_endpoint() as running:
        yield running


def query(url: str, *argv: str, cwd: Path) -> Ended:
    return evaldock("query", url, *argv, cwd=cwd, env=ENV)


def test_the_answer_goes_to_stdout_and_the_facts_to_stderr(endpoint: RunningEndpoint, tmp_path: Path) -> None:
    ended = query(endpoint.url, "The capital of France is", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert ended.out.strip() == "Paris"
    assert "finish_reason stop" in ended.err
    assert "tokens out" in ended.err
    assert " ms" in ended.err


def test_flags_reach_the_request(endpoint: RunningEndpoint, tmp_path: Path) -> None:
    endpoint.reset()
    flags = ("--max_new_tokens", "3", "--temperature", "0.5", "--seed", "7", "--system", "Be brief.")
    assert "finish_reason length" in query(endpoint.url, "Hello", *flags, cwd=tmp_path).err
    body = json.loads(endpoint.last_requests()[-1]["body"])
    assert (body["max_tokens"], body["temperature"], body["seed"]) == (3, 0.5, 7)
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    ]


def test_a_prompt_comes_from_standard_input(endpoint: RunningEndpoint, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from evaldock.cli.main import main; main()", "query", endpoint.url, "-"],
        cwd=tmp_path,
        input="The capital of France is",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "Paris", done.stderr


def test_json_is_the_whole_answer(endpoint: RunningEndpoint, tmp_path: Path) -> None:
    ended = query(endpoint.url, "The capital of France is", "--type", "completions", "--json", cwd=tmp_path)
    assert ended.json["text"].strip() == "Paris"
    assert ended.json["answer"]["usage"]["prompt_tokens"] > 0
    assert (ended.json["type"], ended.json["model_id"]) == ("completions", "fake-model")


def test_an_answer_does_not_move_the_cursor(tmp_path: Path) -> None:
    with running_endpoint(faults=[{"action": "control_chars"}]) as hostile:
        ended = query(hostile.url, "Hello", cwd=tmp_path)
    assert ended.code == 0
    assert "\x1b" not in ended.out
    assert "␛" in ended.out


def test_an_empty_answer_is_said(tmp_path: Path) -> None:
    with running_endpoint(faults=[{"action": "null_content"}]) as silent:
        ended = query(silent.url, "Hello", cwd=tmp_path)
    assert ended.code == 0
    assert "the answer holds no text" in ended.err


def test_a_key_that_is_missing_exits_3(tmp_path: Path) -> None:
    with running_endpoint(api_key_name="QUERY_KEY", env={"QUERY_KEY": KEY}) as keyed:
        refused = query(keyed.url, "Hello", "--model_id", "fake-model", cwd=tmp_path)
        accepted = query(keyed.url, "Hello", "--api_key_name", "QUERY_KEY", cwd=tmp_path)
    assert refused.code == ExitCode.ENDPOINT
    assert "wants a key" in refused.err
    assert refused.out == ""
    assert accepted.code == 0
    assert KEY not in accepted.out + accepted.err


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("Hello", "--model_id", "fake-modle"), 3, 'did you mean "fake-model"?'),
        (("  ",), 2, "the prompt is empty"),
        (("Hello", "--type", "completions", "--system", "x"), 2, "no system message"),
        (("Hello", "--max_new_tokens", "0"), 2, "--max_new_tokens"),
        ((), 2, "PROMPT"),
    ],
)
def test_what_is_wrong_is_said_with_its_code(
    endpoint: RunningEndpoint, tmp_path: Path, argv: tuple[str, ...], code: int, words: str
) -> None:
    ended = query(endpoint.url, *argv, cwd=tmp_path)
    assert ended.code == code, ended.err
    assert words in ended.err
    assert ended.out == ""


def test_an_unreachable_endpoint_exits_3(tmp_path: Path) -> None:
    ended = query("http://127.0.0.1:9/v1", "Hello", "--model_id", "m", cwd=tmp_path)
    assert ended.code == ExitCode.ENDPOINT
    assert "connection refused" in ended.err
