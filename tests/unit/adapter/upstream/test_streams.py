"""Streamed answers: whole, passed on part by part, cut."""

import asyncio
import socket
import threading
from collections.abc import Mapping

import pytest
from tests.kit.raw_server import Behave, Serving, read_request
from tests.kit.upstreams import KEY, asked, asking, terms, upstream_at

from evaldock.testkit.fake_endpoint import RunningEndpoint
from evaldock_entrypoints.adapter.sse import coalesced
from evaldock_entrypoints.adapter.upstream.reply import Reply

STREAMED = asking(stream=True, stream_options={"include_usage": True})


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    """Over connections of our own, and over the library's."""
    return str(request.param)


class Heard:
    """What a harness gets of a stream."""

    def __init__(self) -> None:
        self.heads: list[tuple[int, Mapping[str, str]]] = []
        self.parts: list[bytes] = []

    async def __call__(self, status: int, headers: Mapping[str, str], part: bytes) -> None:
        self.heads.append((status, headers))
        self.parts.append(part)

    @property
    def whole(self) -> bytes:
        return b"".join(self.parts)


def test_stream_is_kept_raw_and_read_as_the_answer_it_is(endpoint: RunningEndpoint) -> None:
    plain, streamed = asked(endpoint.url), asked(endpoint.url, what=STREAMED)
    assert streamed.is_stream
    assert streamed.body.endswith(b"data: [DONE]\n\n")
    assert streamed.tree == coalesced(streamed.body)
    assert plain.tree is not None
    assert streamed.tree["choices"] == plain.tree["choices"]
    assert streamed.tree["usage"] == plain.tree["usage"]
    assert streamed.ttft_ms is not None
    assert 0 < streamed.ttft_ms <= streamed.latency_ms
    assert plain.ttft_ms is None


def test_sink_gets_the_very_bytes_in_parts(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "slow_bytes", "interval_ms": 1}])
    heard = Heard()
    reply = asked(endpoint.url, what=asking(stream=True, max_tokens=2), sink=heard, on=terms(attempt_s=10))
    assert (reply.kind, reply.sunk) == (None, True)
    assert heard.whole == reply.body
    assert len(heard.parts) > 10
    assert heard.heads[0][0] == 200
    assert heard.heads[0][1]["content-type"].startswith("text/event-stream")


def test_time_to_first_token_is_not_that_of_the_role(serving: Serving) -> None:
    role = b'data: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}\n\n'
    word = b'data: {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]}\n\n'

    def serve(connection: socket.socket, ended: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + role)
        ended.wait(0.1)
        connection.sendall(word)
        ended.wait(0.1)
        connection.sendall(b"data: [DONE]\n\n")

    with serving(serve) as url:
        reply = asked(url, what=STREAMED)
    assert reply.ttft_ms is not None
    assert 90 < reply.ttft_ms < reply.latency_ms - 50


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ({"action": "sse_cut"}, "cut"),
        ({"action": "truncate"}, "cut"),
        ({"action": "reset", "at": "half"}, "cut"),
        ({"action": "sse_error"}, "invalid"),
    ],
    ids=str,
)
def test_cut_stream_is_no_answer_and_is_asked_again(
    endpoint: RunningEndpoint, rule: dict[str, object], kind: str
) -> None:
    endpoint.reset(faults=[rule])
    reply = asked(endpoint.url, what=STREAMED, on=terms(retries=1))
    assert (reply.kind, reply.attempts, reply.sunk) == (kind, 2, False)
    endpoint.reset(faults=[{"match": {"first_n": 1}, **rule}])
    assert asked(endpoint.url, what=STREAMED).kind is None


@pytest.mark.parametrize("action", ["sse_cut", "truncate"])
def test_stream_that_breaks_off_after_parts_went_on_is_cut_and_not_asked_again(
    endpoint: RunningEndpoint, action: str
) -> None:
    endpoint.reset(faults=[{"action": action}])
    heard = Heard()
    reply = asked(endpoint.url, what=STREAMED, sink=heard)
    assert (reply.kind, reply.sunk, reply.attempts) == ("cut", True, 1)
    assert heard.whole
    assert endpoint.stats()["requests"] == 1


@pytest.mark.parametrize("action", ["status", "html", "hang"])
def test_failure_before_the_first_part_is_retried_though_parts_would_go_on(
    endpoint: RunningEndpoint, action: str
) -> None:
    endpoint.reset(faults=[{"match": {"first_n": 1}, "action": action}])
    heard = Heard()
    reply = asked(endpoint.url, what=STREAMED, sink=heard, on=terms(attempt_s=0.3))
    assert (reply.kind, reply.attempts) == (None, 2)
    assert heard.whole == reply.body


def test_stream_that_begins_with_an_error_is_not_passed_on(serving: Serving) -> None:
    body = b'data: {"error": {"message": "overloaded"}}\n\ndata: [DONE]\n\n'
    heard = Heard()
    with serving(stream_of(body)) as url:
        reply = asked(url, what=STREAMED, sink=heard, on=terms(retries=1))
    assert (reply.kind, reply.attempts, heard.parts) == ("invalid", 2, [])
    assert "overloaded" in reply.message


def test_error_after_parts_went_on_ends_it(serving: Serving) -> None:
    def serve(connection: socket.socket, ended: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        connection.sendall(b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}]}\n\n')
        ended.wait(0.05)
        connection.sendall(b'data: {"error": {"message": "overloaded"}}\n\ndata: [DONE]\n\n')

    heard = Heard()
    with serving(serve) as url:
        reply = asked(url, what=STREAMED, sink=heard)
    assert (reply.kind, reply.sunk, reply.attempts) == ("cut", True, 1)
    assert "overloaded" in reply.message


def test_stream_without_the_end_marker_is_whole_if_each_choice_has_ended(serving: Serving) -> None:
    ended = b'data: {"choices": [{"index": 0, "text": "x", "finish_reason": "stop"}]}\n\n'
    other = b'data: {"choices": [{"index": 1, "text": "x", "finish_reason": null}]}\n\n'
    with serving(stream_of(ended)) as url:
        assert asked(url, what=STREAMED).kind is None
    with serving(stream_of(other + ended)) as url:
        assert asked(url, what=STREAMED, on=terms(retries=0)).kind == "cut"


def test_stream_under_another_name_is_read_as_one(serving: Serving) -> None:
    ended = b'data: {"choices": [{"index": 0, "text": "x", "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    with serving(stream_of(ended, "text/plain")) as url:
        reply = asked(url, what=STREAMED)
    assert (reply.kind, reply.is_stream) == (None, True)


def stream_of(body: bytes, kind: str = "text/event-stream") -> Behave:
    """Serve a body of events that ends properly."""

    def serve(connection: socket.socket, ended: threading.Event) -> None:  # noqa: ARG001 - one signature
        connection.recv(65536)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close"
        connection.sendall(head.encode() + b"\r\n\r\n" + body)

    return serve


def test_harness_that_hangs_up_frees_its_place(endpoint: RunningEndpoint) -> None:
    class HangsUp(Exception):  # noqa: N818 - no error of ours
        pass

    async def sink(*_: object) -> None:
        raise HangsUp

    async def ask() -> Reply:
        async with upstream_at(endpoint.url, max_concurrency=1) as upstream:
            with pytest.raises(HangsUp):
                await upstream.ask(STREAMED, terms(), sink)
            assert upstream.in_flight == 0
            return await upstream.ask(STREAMED, terms())

    assert asyncio.run(ask()).kind is None


@pytest.mark.parametrize("cut_at", [1, 7, len(KEY) - 1])
def test_a_secret_that_two_parts_of_a_stream_share_reaches_nobody(serving: Serving, cut_at: int) -> None:
    begun = [b'data: {"choices": [{"index": 0, "text": "it is ', KEY[:cut_at].encode()]
    rest = [KEY[cut_at:].encode(), b'", "finish_reason": "stop"}]}\n\n', b"data: [DONE]\n\n"]
    first = b'data: {"choices": [{"index": 0, "text": "so "}]}\n\n'
    heard = Heard()
    with serving(_in_turn(first, b"".join(begun), b"".join(rest))) as url:
        reply = asked(url, what=STREAMED, sink=heard, key=KEY)
    assert reply.kind is None
    assert heard.whole == reply.body
    assert KEY not in heard.whole.decode()
    assert b'it is [redacted]"' in heard.whole


def _in_turn(*parts: bytes) -> Behave:
    """Answer with a stream, a pause after each part."""

    def behave(connection: socket.socket, ended: threading.Event) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for part in parts:
            connection.sendall(part)
            ended.wait(0.05)

    return behave
