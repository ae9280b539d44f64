"""Quick tests of the native folder: questions put to the fake endpoint, and files that are refused."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint

pytestmark = pytest.mark.slow  # starts processes, or waits

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def endpoint() -> Iterator[RunningEndpoint]:
    with running_endpoint() as running:
        yield running


ROUTES = {"chat": "chat/completions", "completions": "completions", "completions_logprob": "completions"}


def _run(folder: Path, url: str, **more: Any) -> "subprocess.CompletedProcess[str]":
    """Run six sums, or what more says, into folder/native."""
    asked = {"task": "arithmetic", "items": 6, "type": "chat", **more}
    asked |= {"url": f"{url}/v1/{ROUTES[asked['type']]}", "model_id": "fake-model", "request_timeout_s": 30}
    sampling = {"temperature": 0.0, "top_p": 1.0, "max_new_tokens": 16, "seed": 7, "repeats": 1}
    places = {"native_dir": str(folder / "native"), "data_dir": str(folder)}
    rest = {"scorer": "exact", "sampling": "head", "parallelism": 4}
    (folder / "job.json").write_text(json.dumps({**sampling, **places, **rest, **asked}))
    argv = [sys.executable, str(HERE / "run.py"), str(folder / "job.json")]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


def _answers(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "native" / "answers.jsonl").read_text().splitlines()]


def _own(folder: Path, *rows: Mapping[str, Any] | str, name: str = "own.jsonl") -> str:
    path = folder / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def test_every_start_asks_every_question_and_repeat_anew(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    endpoint.reset([])
    for start in (1, 2):
        ended = _run(tmp_path, endpoint.url, repeats=2)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert endpoint.stats()["routes"] == {"chat": 12 * start}
    seeds = sorted(json.loads(request["body"])["seed"] for request in endpoint.last_requests())
    assert seeds == [7] * 12 + [8] * 12
    assert len({(row["id"], row["repeat"]) for row in _answers(tmp_path)}) == 12


@pytest.mark.parametrize(
    "fault",
    [{"action": "status", "status": status} for status in (401, 429, 500)] + [{"action": "error_answer"}],
)
def test_a_question_that_fails_is_asked_once_and_is_an_error(
    tmp_path: Path, endpoint: RunningEndpoint, fault: dict[str, Any]
) -> None:
    rows = [{"id": number, "prompt": f"Question {number}?", "target": "x"} for number in range(6)]
    endpoint.reset([{"match": {"body_contains": "Question 2?"}, **fault}])
    assert _run(tmp_path, endpoint.url, task="generation", file=_own(tmp_path, *rows)).returncode == 0
    (failed,) = [row for row in _answers(tmp_path) if "error" in row]
    assert (failed["id"], failed["error"]["kind"]) == ("2", "endpoint")
    assert failed["error"]["message"].startswith(f"HTTP {fault.get('status', 200)}")
    assert "scores" not in failed
    assert endpoint.stats()["requests"] == 6


def test_a_connection_that_fails_ends_the_phase_with_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        ended = _run(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert ended.returncode == 3
    assert ended.stderr.startswith("native: error: no connection to http://127.0.0.1:")
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "native" / "run.json").exists()


ROW = {"id": 1, "prompt": "What is hot?", "target": "fire"}
CHOICE = {"id": 1, "prompt": "What is hot?", "choices": ["sea", "sun"], "answer": 1}  # of equal length


@pytest.mark.parametrize(
    ("extras", "row", "message"),
    [
        ({}, "{", "params.extra.file:2: no JSON: "),
        ({}, "[]", "params.extra.file:2: a row is a JSON object"),
        ({}, {**ROW, "id": 1}, 'params.extra.file:2: the id "1" stands in line 1 already'),
        ({}, {**ROW, "id": " "}, 'params.extra.file:2: "id" must be'),
        ({}, {**ROW, "id": True}, 'params.extra.file:2: "id" must be'),
        ({}, {"id": 2, "target": "x"}, 'params.extra.file:2: give either "prompt" or "messages"'),
        ({}, {**ROW, "id": 2, "prompt": " "}, 'params.extra.file:2: "prompt" must be text'),
        ({}, {**ROW, "id": 2, "target": []}, 'params.extra.file:2: "target" must be'),
        ({}, {"id": 2, "prompt": "?"}, 'params.extra.file:2: "target" must be'),
        ({}, '{"id": 2, "prompt": "?", "target": NaN}', "params.extra.file:2: NaN is no JSON number"),
        ({}, {"id": 2, "messages": [], "target": "x"}, 'params.extra.file:2: "messages" must be'),
        ({}, {"id": 2, "messages": [{"role": "tool", "content": ""}], "target": "x"}, '"messages" must be'),
        ({"scorer": "numeric"}, {**ROW, "id": 2, "target": "two"}, '"two" is no number'),
        ({"scorer": "letter"}, {**ROW, "id": 2, "target": "b"}, '"b" is none of A to Z'),
        ({"scorer": "regex"}, {**ROW, "id": 2, "target": "("}, '"(" is no pattern'),
        ({"task": "multiple_choice"}, {**CHOICE, "id": 2, "answer": 2}, "params.extra.file:2: "),
        ({"task": "multiple_choice"}, {**CHOICE, "id": 2, "answer": "C"}, "from A to B, not 'C'"),
        ({"task": "multiple_choice"}, {**CHOICE, "id": 2, "choices": ["a", "a"]}, "are the same"),
        ({"task": "multiple_choice"}, {**CHOICE, "id": 2, "choices": ["a"]}, "a list of 2 to 26 texts"),
    ],
)
def test_a_row_that_is_wrong_is_refused_by_its_line_before_anything_is_asked(
    tmp_path: Path, endpoint: RunningEndpoint, extras: dict[str, Any], row: Any, message: str
) -> None:
    endpoint.reset([])
    target = {"numeric": "1", "letter": "A"}.get(extras.get("scorer", ""), "fire")
    first = CHOICE if extras.get("task") == "multiple_choice" else {**ROW, "target": target}
    more = {"task": "generation", "file": _own(tmp_path, first, row), **extras}
    ended = _run(tmp_path, endpoint.url, **more)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "params.extra.file:2:" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert endpoint.stats()["requests"] == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"file": None}, "params.extra.file: generation asks your own questions"),
        ({"file": "/nowhere.jsonl"}, "params.extra.file: /nowhere.jsonl cannot be read"),
        ({"num_fewshot": 1}, "params.extra.num_fewshot: 1: there are 0 rows"),
        ({"task": "arithmetic", "items": 0}, "params.extra.items: 0"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(
    tmp_path: Path, endpoint: RunningEndpoint, more: dict[str, Any], message: str
) -> None:
    ended = _run(tmp_path, endpoint.url, **{"task": "generation", "file": _own(tmp_path, ROW), **more})
    assert ended.returncode == 2
    assert message in ended.stderr


def test_an_example_that_is_also_asked_is_refused(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    shots = _own(tmp_path, {**ROW, "id": "shown"}, name="shots.jsonl")
    ended = _run(tmp_path, endpoint.url, task="generation", file=_own(tmp_path, ROW), fewshot_file=shots)
    assert ended.returncode == 2
    assert 'few-shot row "shown" is the question "1" of params.extra.file' in ended.stderr


def test_examples_are_earlier_turns_of_a_chat_and_text_before_a_completion(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    shots = _own(
        tmp_path,
        {"id": "a", "prompt": "Q1?", "target": "one"},
        {"id": "b", "prompt": "Q2? ", "target": 2},
        name="shots.jsonl",
    )
    own = {"task": "generation", "file": _own(tmp_path, ROW), "fewshot_file": shots}
    endpoint.reset([])
    assert _run(tmp_path, endpoint.url, **own).returncode == 0
    assert _run(tmp_path, endpoint.url, **own, type="completions", num_fewshot=2).returncode == 0
    chat, completion = [json.loads(request["body"]) for request in endpoint.last_requests()]
    turns = [(message["role"], message["content"]) for message in chat["messages"]]
    assert turns == [
        ("user", "Q1?"),
        ("assistant", "one"),
        ("user", "Q2? "),
        ("assistant", "2"),
        ("user", "What is hot?"),
    ]
    assert completion["prompt"] == "Q1? one\n\nQ2? 2\n\nWhat is hot?"
    assert completion["stop"] == ["\n\n"]


def _choices(folder: Path) -> tuple[str, Path]:
    rows = [{**CHOICE, "id": n, "prompt": f"Question {n:02}: what is hot?"} for n in range(8)]
    table = folder / "table.jsonl"
    lines = [
        {"id": str(r["id"]), "match": f"{r['prompt']}", "kind": "choice", "choices": r["choices"], "right": 1}
        for r in rows
    ]
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return _own(folder, *rows), table


def test_log_probabilities_choose_the_share_that_the_endpoint_prefers(tmp_path: Path) -> None:
    own, table = _choices(tmp_path)
    with running_endpoint(answers=[table], share=0.75) as running:
        ended = _run(tmp_path, running.url, task="multiple_choice", file=own, type="completions_logprob")
        stats = running.stats()
    assert ended.returncode == 0, ended.stderr
    assert (stats["requests"], stats["unmatched"], stats["no_choice"]) == (16, 0, 0)
    for name in ("acc", "acc_norm"):
        assert fmean(row["scores"][name] for row in _answers(tmp_path)) == 0.75


def test_an_endpoint_that_prefers_nothing_gets_nothing_right(tmp_path: Path) -> None:
    own, table = _choices(tmp_path)
    with running_endpoint(answers=[table], share=1.0, logprobs_bug="constant") as running:
        ended = _run(tmp_path, running.url, task="multiple_choice", file=own, type="completions_logprob")
    assert ended.returncode == 0, ended.stderr
    assert {row["scores"]["acc"] for row in _answers(tmp_path)} == {0.0}


def test_log_probabilities_that_lack_are_an_error(tmp_path: Path) -> None:
    own, table = _choices(tmp_path)
    with running_endpoint(answers=[table], share=1.0, logprobs_bug="missing") as running:
        ended = _run(tmp_path, running.url, task="multiple_choice", file=own, type="completions_logprob")
    assert ended.returncode == 0, ended.stderr
    assert all("error" in row for row in _answers(tmp_path))
