"""The connections to an endpoint: kept, given up; what HTTP allows and few servers do."""

import asyncio
import socket
import threading

import pytest
from tests.kit.raw_server import Serving, read_request, saying
from tests.kit.upstreams import asked, asking, terms, upstream_at

from evaldock_entrypoints.adapter.upstream.reply import Asking, Reply

pytestmark = pytest.mark.slow  # starts servers, or waits

GOOD = b'{"choices": [{"index": 0, "text": "x", "finish_reason": "stop"}]}'
LENGTH = b"Content-Length: %d\r\n" % len(GOOD)
OK = b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + GOOD
ONCE = terms(retries=0, attempt_s=2)


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    """Over connections of our own, and over the library's."""
    return str(request.param)


def ask_in_turn(url: str, count: int, *, pause_s: float = 0.0) -> list[Reply]:
    """Ask so many times over one pool."""

    async def ask() -> list[Reply]:
        replies = []
        async with upstream_at(url) as upstream:
            for number in range(count):
                replies.append(await upstream.ask(asking(str(number)), ONCE))
                await asyncio.sleep(pause_s)
        return replies

    return asyncio.run(ask())


def test_connection_is_kept_between_requests(serving: Serving) -> None:
    requests: list[int] = []
    with serving(saying(OK, OK, OK, OK, requests=requests)) as url:
        assert [reply.kind for reply in ask_in_turn(url, 4)] == [None] * 4
    assert requests == [4]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + LENGTH + b"\r\n" + GOOD,
        b"HTTP/1.0 200 OK\r\n" + LENGTH + b"\r\n" + GOOD,
    ],
)
def test_connection_that_the_endpoint_closes_is_not_used_again(serving: Serving, answer: bytes) -> None:
    requests: list[int] = []
    with serving(saying(answer, OK, requests=requests)) as url:
        assert [reply.kind for reply in ask_in_turn(url, 3)] == [None] * 3
    assert requests == [1, 1, 1]


@pytest.mark.parametrize("pause_s", [0.0, 0.05])
def test_kept_connection_that_was_closed_meanwhile_costs_no_retry(serving: Serving, pause_s: float) -> None:
    with serving(saying(OK)) as url:  # hangs up without having said so
        assert [reply.kind for reply in ask_in_turn(url, 5, pause_s=pause_s)] == [None] * 5


def test_word_that_nobody_asked_for_is_not_the_next_answer(serving: Serving) -> None:
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    with serving(saying(OK + late, OK)) as url:
        assert [reply.kind for reply in ask_in_turn(url, 3, pause_s=0.02)] == [None] * 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n" + GOOD,  # its end is that of the connection
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nTrailer: x\r\n\r\n"
        % (len(GOOD), GOOD),
    ],
    ids=["until the end", "words on the way", "chunks"],
)
def test_answer_is_taken_in_every_form_that_http_has(serving: Serving, answer: bytes) -> None:
    with serving(saying(answer)) as url:
        reply = asked(url, on=ONCE)
    assert (reply.kind, reply.body) == (None, GOOD)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (OK[:-1], "cut"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", "invalid"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 70_000 + b"\r\n" * 2 + GOOD, None),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Long: x\r\n" * 100_000, "invalid"),
    ],
)
def test_torn_answer_is_none(serving: Serving, answer: bytes, kind: str | None) -> None:
    with serving(saying(answer)) as url:
        assert asked(url, on=ONCE).kind == kind


def test_chunk_that_is_none_cuts_the_answer(serving: Serving, scheme: str) -> None:
    def serve(connection: socket.socket, ended: threading.Event) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n")
        ended.wait(0.05)
        connection.sendall(b"no number\r\n")

    with serving(serve) as url:  # aiohttp tells what it read only when the other side has hung up too
        assert asked(url, on=ONCE).kind in ({"cut"} if scheme == "http" else {"cut", "idle"})


def test_answers_without_a_body_are_not_waited_for(serving: Serving) -> None:
    head = Asking(method="HEAD", path="/models", body=b"", headers={})
    with serving(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")) as url:
        assert asked(url, what=head, on=ONCE).body == b""
    gone = Asking(method="DELETE", path="/files/1", body=b"", headers={})
    with serving(saying(b"HTTP/1.1 204 No Content\r\n\r\n")) as url:
        assert asked(url, what=gone, on=ONCE).status == 204


@pytest.mark.parametrize("text", ["x\r\nEvil: 1", "x\nEvil: 1", "x\rEvil: 1"])
def test_header_cannot_bring_another_one(serving: Serving, text: str) -> None:
    with serving(saying(OK)) as url, pytest.raises(ValueError, match=r"line break|injection"):
        asked(url, what=asking(headers={"x-mine": text}), on=ONCE)


def test_request_given_up_closes_its_connection(serving: Serving) -> None:
    closed = threading.Event()

    def serve(connection: socket.socket, _: threading.Event) -> None:
        read_request(connection)
        if connection.recv(1) == b"":
            closed.set()

    async def ask() -> bool:
        async with upstream_at(url) as upstream:
            task = asyncio.create_task(upstream.ask(asking(), ONCE))
            await asyncio.sleep(0.05)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return await asyncio.to_thread(closed.wait, 5)

    with serving(serve) as url:
        assert asyncio.run(ask())


def test_stream_waits_for_a_reader_that_is_slow(serving: Serving) -> None:
    sent = 0
    event = b'data: {"choices": [{"index": 0, "delta": {"content": "%b"}}]}\n\n' % (b"x" * 60_000)
    end = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
    seen: list[int] = []

    def serve(connection: socket.socket, _: threading.Event) -> None:
        nonlocal sent
        read_request(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for _number in range(400):
            connection.sendall(event)
            sent += len(event)
        connection.sendall(end)

    async def sink(*_: object) -> None:
        if not seen:
            await asyncio.sleep(0.4)  # longer than the pause that an endpoint may make
            seen.append(sent)

    with serving(serve) as url:
        reply = asked(url, what=asking(stream=True), on=terms(attempt_s=20, total_s=20), sink=sink)
    assert (reply.kind, len(reply.body)) == (None, 400 * len(event) + len(end))
    assert seen[0] < len(reply.body) / 2
