"""The connections to an endpoint: kept, given up, tunnelled; what HTTP allows and few servers do."""

import asyncio
import gzip
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.kit.raw_server import Behave, raw_server
from tests.kit.upstreams import asked, asking, terms, upstream_at

from evaldock_entrypoints.adapter.upstream.reply import Asking, Reply

GOOD = b'{"choices": [{"index": 0, "text": "x", "finish_reason": "stop"}]}'
LENGTH = b"Content-Length: %d\r\n" % len(GOOD)
OK = b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + GOOD
ONCE = terms(retries=0, attempt_s=2)


def read_request(connection: socket.socket) -> bytes:
    """Return one whole request, nothing where the client hung up."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return b""
        data += part
    found = re.search(rb"content-length: (\d+)", data.lower())
    head, _, body = data.partition(b"\r\n\r\n")
    while len(body) < int(found[1] if found else 0):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def saying(*answers: bytes, requests: list[int] | None = None) -> Behave:
    """Answer the requests of each connection with these bytes in turn, then hang up.

    requests: how many each connection brought, one number per connection.
    """

    def serve(connection: socket.socket, _: threading.Event) -> None:
        place = len(requests or [])
        if requests is not None:
            requests.append(0)
        for answer in answers:
            if not read_request(connection):
                return
            if requests is not None:
                requests[place] += 1
            connection.sendall(answer)

    return serve


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


def test_connection_is_kept_between_requests() -> None:
    requests: list[int] = []
    with raw_server(saying(OK, OK, OK, OK, requests=requests)) as url:
        assert [reply.kind for reply in ask_in_turn(url, 4)] == [None] * 4
    assert requests == [4]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + LENGTH + b"\r\n" + GOOD,
        b"HTTP/1.0 200 OK\r\n" + LENGTH + b"\r\n" + GOOD,
    ],
)
def test_connection_that_the_endpoint_closes_is_not_used_again(answer: bytes) -> None:
    requests: list[int] = []
    with raw_server(saying(answer, OK, requests=requests)) as url:
        assert [reply.kind for reply in ask_in_turn(url, 3)] == [None] * 3
    assert requests == [1, 1, 1]


@pytest.mark.parametrize("pause_s", [0.0, 0.05])
def test_kept_connection_that_was_closed_meanwhile_costs_no_retry(pause_s: float) -> None:
    with raw_server(saying(OK)) as url:  # hangs up without having said so
        assert [reply.kind for reply in ask_in_turn(url, 5, pause_s=pause_s)] == [None] * 5


def test_word_that_nobody_asked_for_is_not_the_next_answer() -> None:
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    with raw_server(saying(OK + late, OK)) as url:
        assert [reply.kind for reply in ask_in_turn(url, 3, pause_s=0.02)] == [None] * 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n" + GOOD,  # its end is that of the connection
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\nTrailer: x\r\n\r\n"
        % (len(GOOD), GOOD),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
        + gzip.compress(GOOD[:9])
        + gzip.compress(GOOD[9:]),
    ],
    ids=["until the end", "words on the way", "chunks", "two gzip members"],
)
def test_answer_is_taken_in_every_form_that_http_has(answer: bytes) -> None:
    with raw_server(saying(answer)) as url:
        reply = asked(url, on=ONCE)
    assert (reply.kind, reply.body) == (None, GOOD)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (OK[:-1], "cut"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nno number\r\n", "cut"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(GOOD)[:-9], "cut"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\nxxx", "cut"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", "invalid"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 70_000 + b"\r\n" * 2 + GOOD, None),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Long: x\r\n" * 100_000, "invalid"),
    ],
)
def test_torn_answer_is_none(answer: bytes, kind: str | None) -> None:
    with raw_server(saying(answer)) as url:
        assert asked(url, on=ONCE).kind == kind


def test_answers_without_a_body_are_not_waited_for() -> None:
    head = Asking(method="HEAD", path="/models", body=b"", headers={})
    with raw_server(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")) as url:
        assert asked(url, what=head, on=ONCE).body == b""
    gone = Asking(method="DELETE", path="/files/1", body=b"", headers={})
    with raw_server(saying(b"HTTP/1.1 204 No Content\r\n\r\n")) as url:
        assert asked(url, what=gone, on=ONCE).status == 204


@pytest.mark.parametrize("text", ["x\r\nEvil: 1", "x\nEvil: 1", "x\rEvil: 1"])
def test_header_cannot_bring_another_one(text: str) -> None:
    with raw_server(saying(OK)) as url, pytest.raises(ValueError, match="line break"):
        asked(url, what=asking(headers={"x-mine": text}), on=ONCE)


def test_request_given_up_closes_its_connection() -> None:
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

    with raw_server(serve) as url:
        assert asyncio.run(ask())


def test_stream_waits_for_a_reader_that_is_slow() -> None:
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

    with raw_server(serve) as url:
        reply = asked(url, what=asking(stream=True), on=terms(attempt_s=20, total_s=20), sink=sink)
    assert (reply.kind, len(reply.body)) == (None, 400 * len(event) + len(end))
    assert seen[0] < len(reply.body) / 2


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate of localhost that nobody signed."""
    path = tmp_path / "localhost.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    argv += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run([*argv, "-keyout", path, "-out", f"{path}.crt"], capture_output=True, check=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def test_encrypted_connection_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
    certificate: Path,
    run_proxy: Callable[[bytes], str],
    tunnelled: list[bytes],
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve(connection: socket.socket, ended: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            saying(OK, OK)(wrapped, ended)

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("NO_PROXY", "other.invalid")
    with raw_server(serve) as url:
        port = int(url.rpartition(":")[2])
        monkeypatch.setenv("HTTPS_PROXY", run_proxy(b"HTTP/1.1 200 Connection established\r\n\r\n"))
        replies = ask_in_turn(f"https://localhost:{port}", 2)
        monkeypatch.setenv("HTTPS_PROXY", run_proxy(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"))
        refused = asked(f"https://localhost:{port}", on=ONCE)
    assert [reply.kind for reply in replies] == [None, None]
    assert len(tunnelled) == 2  # one connection for both requests, and the one that was refused
    assert tunnelled[0].startswith(b"CONNECT localhost:%d HTTP/1.1\r\n" % port)
    assert b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n" in tunnelled[0]
    assert (refused.kind, "407" in refused.message) == ("connect", True)


@pytest.fixture
def tunnelled() -> list[bytes]:
    """What proxies were asked for."""
    return []


@pytest.fixture
def run_proxy(request: pytest.FixtureRequest, tunnelled: list[bytes]) -> Callable[[bytes], str]:
    """Start a proxy that gives this answer to CONNECT; return its address with credentials."""

    def start(answer: bytes) -> str:
        def serve(connection: socket.socket, _: threading.Event) -> None:
            asked_for = read_request(connection)
            tunnelled.append(asked_for)
            connection.sendall(answer)
            if b" 200 " not in answer:
                return
            port = int(asked_for.split(b" ")[1].rpartition(b":")[2])
            with socket.create_connection(("127.0.0.1", port)) as behind:
                threading.Thread(target=_pump, args=(connection, behind), daemon=True).start()
                _pump(behind, connection)

        server = raw_server(serve)
        url = server.__enter__()
        request.addfinalizer(lambda: server.__exit__(None, None, None))
        return url.replace("http://", "http://me:secret@")

    return start


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        return
