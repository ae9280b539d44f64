"""Interceptors that log, count, tell and stop."""

import asyncio
import http.server
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.kit.interceptors import Task, exchanged, said

from evaldock_entrypoints.adapter.chain import Chain, InterceptorError, Link
from evaldock_entrypoints.adapter.interceptor import Context, Interceptor, NoConfig
from evaldock_entrypoints.adapter.registry import build
from evaldock_entrypoints.contract import target
from evaldock_entrypoints.contract.errors import ExitCode


def task(folder: Path, name: str, **config: Any) -> Task:
    return Task(folder=folder, listed=[{"name": name, "config": config}])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def many(number: int, **more: Any) -> Any:
    async def work(chain: Chain) -> None:
        for _ in range(number):
            await exchanged(chain, said("2"), **more)

    return work


def test_the_first_requests_are_logged_and_no_more(tmp_path: Path) -> None:
    found = task(tmp_path, "request_logging")
    found.run(many(5))
    logged = lines(found.logs / "requests.jsonl")
    assert len(logged) == 2
    assert logged[0]["route"] == "/chat/completions"
    assert logged[0]["body"]["messages"] == [{"role": "user", "content": "1 + 1?"}]
    every = task(tmp_path / "all", "request_logging", max_requests=None, log_request_body=False)
    every.run(many(5))
    assert [sorted(one) for one in lines(every.logs / "requests.jsonl")] == [["headers", "route", "time"]] * 5


def test_a_log_shows_no_secret_and_nothing_that_acts_on_a_terminal(tmp_path: Path) -> None:
    found = task(tmp_path, "request_logging")
    content = "\x1b[31m \u009b31m \u202e é"
    found.sent(
        {"messages": [{"role": "user", "content": content}]}, x_api_key="sk-canary", authorization="Bearer c"
    )
    raw = (found.logs / "requests.jsonl").read_bytes()
    assert b"canary" not in raw
    assert b"Bearer" not in raw
    assert raw.isascii()
    assert b"\x1b" not in raw
    assert json.loads(raw)["body"]["messages"][0]["content"] == content


def test_a_log_goes_through_no_link(tmp_path: Path) -> None:
    found, other = task(tmp_path, "request_logging"), tmp_path / "other"
    found.logs.mkdir()
    (found.logs / "requests.jsonl").symlink_to(other)
    with pytest.raises(InterceptorError, match="request_logging"):
        found.run(many(1))
    assert not other.exists()


class _Clumsy(Interceptor[NoConfig]):
    async def close(self) -> None:
        raise OSError("the disk is full")


def test_an_interceptor_that_cannot_close_leaves_no_other_open(tmp_path: Path) -> None:
    context = Context(task="toy.sums", role=None, logs=tmp_path, stop_task=lambda _: None)
    log = build(target.Interceptor(name="token_log"), context)
    clumsy = _Clumsy(NoConfig(), context)

    async def work() -> None:
        async with Chain(
            [Link(name="clumsy", interceptor=clumsy), Link(name="log", interceptor=log)]
        ) as chain:
            await exchanged(chain, said("2"))
            await exchanged(chain, said("2"))  # the first line of a file is flushed at once

    with pytest.raises(OSError, match="full"):
        asyncio.run(work())
    assert len(lines(tmp_path / "tokens.jsonl")) == 2


def test_answers_are_logged_and_failures_with_their_request(tmp_path: Path) -> None:
    found = task(tmp_path, "response_logging", max_responses=1, log_failed_requests=True)

    async def work(chain: Chain) -> None:
        await exchanged(chain, said("2"), cached=True)
        await exchanged(chain, said("3"))
        await exchanged(chain, {"error": {"message": "no"}}, status=500)

    found.run(work)
    first, failure = lines(found.logs / "responses.jsonl")
    assert (first["status"], first["cached"], first["latency_ms"]) == (200, True, 12.5)
    assert first["body"]["choices"][0]["message"]["content"] == "2"
    assert (failure["status"], failure["error"]) == (500, "status")
    assert failure["request"]["messages"][0]["content"] == "1 + 1?"


def test_an_auxiliary_model_has_logs_of_its_own(tmp_path: Path) -> None:
    found = Task(folder=tmp_path, role="judge", listed=[{"name": "token_log"}])
    found.run(many(1))
    assert [path.name for path in found.logs.iterdir()] == ["tokens.judge.jsonl"]


def test_tokens_of_each_answer_are_logged(tmp_path: Path) -> None:
    found = task(tmp_path, "token_log")
    found.received(said("2", "length"))
    (line,) = lines(found.logs / "tokens.jsonl")
    assert (line["prompt_tokens"], line["completion_tokens"], line["finish_reasons"]) == (5, 40, ["length"])


def test_statistics_count_every_answer(tmp_path: Path) -> None:
    found = task(tmp_path, "response_stats")
    called = [{"id": one, "type": "function", "function": {"name": "f", "arguments": ""}} for one in "ab"]

    async def work(chain: Chain) -> None:
        await exchanged(chain, said("2"), cached=True)
        await exchanged(chain, said("2", "length"))
        await exchanged(chain, said(None, "tool_calls", tool_calls=called))
        await exchanged(chain, {"error": {}}, status=503)

    found.run(work)
    stats = json.loads((found.logs / "response_stats.json").read_text())
    assert (stats["answers"], stats["cached"], stats["tool_calls"]) == (4, 1, 2)
    assert stats["status_codes"] == {"200": 3, "503": 1}
    assert stats["finish_reasons"] == {"stop": 1, "length": 1, "tool_calls": 1}
    assert stats["completion_tokens"] == {"count": 3, "total": 120, "average": 40, "max": 40}


def test_statistics_are_written_while_a_task_runs(tmp_path: Path) -> None:
    found = task(tmp_path, "response_stats", interval=2)

    async def work(chain: Chain) -> int:
        await many(2)(chain)
        while not (found.logs / "response_stats.json").exists():
            await asyncio.sleep(0.01)
        return int(json.loads((found.logs / "response_stats.json").read_text())["answers"])

    assert found.run(work) == 2


@pytest.mark.parametrize(
    ("word", "config", "expected"),
    [
        ("end_turn", {}, "stop"),
        ("MAX_TOKENS", {}, "length"),
        ("STOP", {}, "stop"),
        ("tool_use", {}, "tool_calls"),
        ("SAFETY", {}, "content_filter"),
        ("abort", {}, "abort"),
        ("abort", {"mapping": {"abort": "stop"}}, "stop"),
        ("eos", {"mapping": {"eos": "length"}}, "length"),
    ],
)
def test_finish_reasons_are_spelled_as_openai_does(
    tmp_path: Path, word: str, config: dict[str, Any], expected: str
) -> None:
    _, found = task(tmp_path, "finish_reason", **config).received(said("2", word))
    assert (found.body.tree or {})["choices"][0]["finish_reason"] == expected


@pytest.mark.parametrize("word", ["stop", "length", "tool_calls", "content_filter", "function_call"])
def test_known_finish_reasons_change_nothing(tmp_path: Path, word: str) -> None:
    _, found = task(tmp_path, "finish_reason").received(said("2", word))
    assert found.body.encoded() is found.body.raw


@pytest.mark.parametrize(
    ("status", "config", "stops"),
    [
        (404, {}, True),
        (408, {}, False),
        (429, {}, False),
        (500, {}, False),
        (200, {}, False),
        (500, {"status_codes": [500]}, True),
        (404, {"exclude_status_codes": [404]}, False),
        (404, {"status_code_range_end": 403}, False),
    ],
)
def test_a_client_error_ends_the_task(
    tmp_path: Path, status: int, config: dict[str, Any], stops: bool
) -> None:
    found = task(tmp_path, "raise_client_errors", **config)
    found.received(said("2") if status == 200 else {"error": {}}, status=status)
    assert bool(found.stopped) == stops
    if stops:
        assert f"answered {status}: it said no" in found.stopped[0].message
        assert found.stopped[0].exit_code == ExitCode.ENDPOINT


@contextmanager
def webhook(status: int = 200) -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """Yield the address of a server, and what it was told."""
    told: list[tuple[str, dict[str, Any]]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def _take(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            told.append((self.command, json.loads(body)))
            self.send_response(status)
            self.end_headers()

        do_PATCH = do_POST = _take  # noqa: N815 - of the base class

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/progress", told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_progress_counts_stored_answers_and_no_failures(tmp_path: Path) -> None:
    found = task(tmp_path, "progress_tracking")

    async def work(chain: Chain) -> None:
        for _ in range(2):
            await exchanged(chain, said("2"), cached=True)
        await exchanged(chain, said("2"))
        await exchanged(chain, {"error": {}}, status=500)

    found.run(work)
    assert (tmp_path / "progress").read_text() == "3\n"


@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_progress_is_told_to_an_address_and_its_end_always(tmp_path: Path, method: str) -> None:
    with webhook() as (url, told):
        task(tmp_path, "progress_tracking", url=url, interval=100, request_method=method).run(many(7))
    assert told == [(method, {"samples_processed": 7, "task": "toy.sums"})]


def test_progress_is_told_by_the_clock_as_well(tmp_path: Path) -> None:
    with webhook() as (url, told):
        found = task(tmp_path, "progress_tracking", url=url, interval=100, interval_seconds=0.02)

        async def work(chain: Chain) -> None:
            await many(3)(chain)
            while not told:
                await asyncio.sleep(0.01)

        found.run(work)
    assert [body["samples_processed"] for _, body in told] == [3]


@pytest.mark.parametrize("status", [500, None], ids=["refused", "nobody there"])
def test_a_failure_to_tell_fails_no_request_and_is_said_once(
    tmp_path: Path, status: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(chain: Chain) -> None:
        await many(2)(chain)
        await asyncio.sleep(0.3)
        await many(2)(chain)

    with webhook(status or 200) as (url, told), caplog.at_level(logging.WARNING):
        address = url if status else "http://127.0.0.1:9/"
        task(tmp_path, "progress_tracking", url=address).run(work)
    assert (tmp_path / "progress").read_text() == "4\n"
    assert len([one for one in caplog.messages if "progress was not told" in one]) == 1
    assert bool(told) == bool(status)
