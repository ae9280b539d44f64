"""`evaldock exchanges`: what a run asked, found by key, task, text and outcome."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.kit.cli import Ended, evaldock
from tests.kit.exchanges import answered, digest, failed

from evaldock.analysis.exchange_text import asked, said
from evaldock.cli.exchanges import exchanges
from evaldock_entrypoints.contract.errors import ExitCode
from evaldock_entrypoints.exchanges.record import Exchange
from evaldock_entrypoints.exchanges.segments import segment_paths
from evaldock_entrypoints.exchanges.store import Store

RUN = "20260131T101010Z-0001"
STREAM = b"".join(
    b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % part for part in (b"for", b"ty-two")
)


def chat(number: int, words: str, **facts: Any) -> Exchange:
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": words}}]}
    return answered(number, response=json.dumps(body).encode(), **facts)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A run of two tasks: the second was asked by a run before it as well."""
    first, second = (tmp_path / "results" / RUN / task / "exchanges" for task in ("toy.sums", "toy.words"))
    with Store(first, session="1") as store:
        store.add(chat(1, "It is 2.", prompt_tokens=14, completion_tokens=6))
        store.deliver(digest(1), 0, source="asked", arrived=store.arrived())
        store.fail(failed(2), arrived=store.arrived())
    with Store(second, session="1") as store:
        store.add(chat(3, "Straße\x1b[2J\u202e und", truncated=1, finish_reasons=("length",), attempts=3))
        store.deliver(digest(3), 0, source="stored", arrived=store.arrived())
        store.add(replace(answered(4, response=STREAM), is_stream=True, role="judge"))
    return tmp_path


def listed(results: Path, *argv: str) -> Ended:
    ended = evaldock("exchanges", *argv, cwd=results)
    assert (ended.code, "Traceback" in ended.err) == (0, False), ended.err
    return ended


def numbers(results: Path, *argv: str) -> list[int]:
    """Return which of the exchanges are listed."""
    keys = [entry["key"] for entry in listed(results, *argv, "--json").json]
    known = {f"{digest(number).hex()}:0": number for number in range(10)}
    return [known[key] for key in keys]


def test_each_exchange_is_one_line(results: Path) -> None:
    first, second, third, fourth = listed(results, RUN[:9]).out.splitlines()
    assert first.startswith(f"{digest(1).hex()[:10]}:0  toy.sums  chat/completions  200  stop  14+6 tokens")
    assert first.endswith("asked  What is the sum of 1 and 1? → It is 2.")
    assert "503  status  ? tokens" in second
    assert second.endswith("no answer  What is the sum of 1 and 2? → busy")
    assert "200  length" in third
    assert "3 attempts  stored" in third
    assert "judge: /chat/completions" in fourth
    assert fourth.endswith("not received  What is the sum of 1 and 4? → forty-two")


def test_nothing_in_an_answer_reaches_the_terminal_as_it_is(results: Path) -> None:
    for argv in ([], ["--show", digest(3).hex()]):
        out = listed(results, *argv).out
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert "Straße" in out


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], [1, 2, 3, 4]),
        (["--failed"], [2]),
        (["--truncated"], [3]),
        (["--task", "toy.words"], [3, 4]),
        (["--task", "sums"], [1, 2]),
        (["--grep", '1 and 3?"'], [3]),  # as text: the regular expression would not match
        (["--grep", "sum of . and [12]"], [1, 2]),
        (["--grep", "Straße"], [3]),  # which the body spells with an escape
        (["--grep", "forty-two"], [4]),  # of which the stream sends parts
        (["--grep", "[unclosed"], []),
        (["--limit", "3"], [1, 2, 3]),
        (["--failed", "--grep", "It is"], []),
    ],
)
def test_exchanges_are_chosen(results: Path, argv: list[str], expected: list[int]) -> None:
    assert numbers(results, *argv) == expected


def test_one_is_shown_whole(results: Path) -> None:
    out = listed(results, "--show", f"{digest(4).hex()}:0").out
    assert '"content": "What is the sum of 1 and 4?"' in out
    assert STREAM.decode().strip() in out
    assert f"response, {len(STREAM)} bytes" in out


def test_json_holds_bodies_and_facts(results: Path) -> None:
    (entry,) = listed(results, "--json", "--show", digest(1).hex()).json
    assert entry["request"]["messages"][0]["content"] == "What is the sum of 1 and 1?"
    assert entry["response"]["choices"][0]["message"]["content"] == "It is 2."
    assert (entry["task"], entry["received"], entry["prompt_tokens"]) == ("toy.sums", "asked", 14)
    assert entry["started_at"].endswith("+00:00")


def test_damaged_entries_are_left_out_and_said(results: Path) -> None:
    folder = results / "results" / RUN / "toy.sums" / "exchanges"
    content = bytearray(segment_paths(folder)[0].read_bytes())
    content[10] ^= 1
    segment_paths(folder)[0].write_bytes(content)
    ended = listed(results, "--json")
    assert len(ended.json) == 3
    assert "note: damaged places, left out: 1" in ended.err


def test_links_are_not_followed(results: Path) -> None:
    run = results / "results" / RUN
    (run / "toy.sums" / "exchanges").rename(results / "elsewhere")
    (run / "toy.sums" / "exchanges").symlink_to(results / "elsewhere")
    assert numbers(results) == [3, 4]


def test_what_is_not_there_is_said(results: Path) -> None:
    ended = listed(results, "--grep", "nowhere", "--json")
    assert ended.json == []
    assert "no exchange is like that" in ended.err
    (results / "results" / "20270101T000000Z-0002").mkdir()
    (results / "results" / "20270101T000000Z-0002" / "run.yaml").write_text("")
    assert "holds no exchanges" in listed(results).err
    ended = evaldock("exchanges", RUN, "--task", "toy.sum", cwd=results)
    assert ended.code == ExitCode.USAGE
    assert "toy.sums" in ended.err
    assert evaldock("exchanges", "2031", cwd=results).code == ExitCode.USAGE


def test_help_names_every_option() -> None:
    assert all(getattr(option, "help", None) for option in exchanges.params if option.name != "run_id")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"messages":[{"role":"system","content":"s"},{"role":"user","content":"u"}]}', "u"),
        (b'{"messages":[{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}', "ab"),
        (b'{"prompt":"p"}', "p"),
        (b'{"prompt":[1,2]}', "[1,2]"),
        (b'{"input":["x"]}', '["x"]'),
        (b'{"messages":[7]}', "7"),
        (b"{}", "{}"),
        (b"\xff", "\ufffd"),
    ],
)
def test_a_request_in_words(body: bytes, words: str) -> None:
    assert asked(body) == words


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"choices":[{"text":"t"},{"index":1,"text":"u"}]}', "t"),
        (b'{"choices":[{"message":{"content":null,"tool_calls":[{"id":"1"}]}}]}', '[{"id":"1"}]'),
        (b'{"choices":[7]}', '{"choices":[7]}'),
        (b'{"choices":{}}', '{"choices":{}}'),
        (b"oops", "oops"),
    ],
)
def test_an_answer_in_words(body: bytes, words: str) -> None:
    assert said(body, is_stream=False) == words
