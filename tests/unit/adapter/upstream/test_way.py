"""The way to an endpoint: proxies, certificates, paths as they are."""

import asyncio
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.kit.encrypted import server_context
from tests.kit.raw_server import Behave, raw_server, read_request, saying
from tests.kit.upstreams import asked, asking, terms, upstream_at

from evaldock_entrypoints.adapter.upstream.addresses import Address
from evaldock_entrypoints.adapter.upstream.reply import Reply

ONCE = terms(retries=0, total_s=0.5)
ANSWER = b'{"choices": [{"index": 0, "text": "x", "finish_reason": "stop"}]}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)


def noting(seen: list[bytes]) -> Behave:
    """Answer, and note what was asked."""

    def serve(connection: socket.socket, ended: threading.Event) -> None:  # noqa: ARG001 - one signature
        seen.append(connection.recv(65536))
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(ANSWER)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + ANSWER)

    return serve


@pytest.mark.parametrize(
    ("url", "proxy", "way"),
    [
        ("http://model:8000", None, "plain"),
        ("http://model:8000", "http://proxy:3128", "library"),
        ("https://model", None, "library"),
        ("https://model", "proxy:3128", "library"),
    ],
)
def test_own_connections_are_for_plain_http_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch, url: str, proxy: str | None, way: str
) -> None:
    if proxy is not None:
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("ALL_PROXY", proxy)
    assert Address(f"{url}/v1").way == way


def test_sites_proxy_is_used_with_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    with raw_server(noting(seen)) as url:
        monkeypatch.setenv("NO_PROXY", "other.invalid")
        monkeypatch.setenv("HTTP_PROXY", url.replace("http://", "http://me:secret@"))
        assert asked("http://model.invalid:8000", key="sk-abcdef", on=ONCE).kind is None
        assert asked("http://other.invalid:8000", on=ONCE).kind == "connect"
    head = seen[0].split(b"\r\n\r\n")[0].decode()
    assert head.startswith("POST http://model.invalid:8000/v1/chat/completions HTTP/1.1")
    assert "Proxy-Authorization: Basic bWU6c2VjcmV0" in head
    assert "authorization: Bearer sk-abcdef" in head
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("path", "is_beside", "url"),
    [
        ("/chat/completions", False, "http://h:1/v1/chat/completions"),
        ("/tokenize", True, "http://h:1/tokenize"),
        ("/models/a%2Fb?x=%20+y&x=z", False, "http://h:1/v1/models/a%2Fb?x=%20+y&x=z"),
        ("/models/a b\r\nEvil: 1", False, "http://h:1/v1/models/a%20b%0D%0AEvil:%201"),
        ("/models/ä", False, "http://h:1/v1/models/%C3%A4"),
    ],
)
def test_path_goes_out_as_it_came(path: str, is_beside: bool, url: str) -> None:
    assert str(Address("http://h:1/v1/").url(path, is_beside=is_beside)) == url


def test_certificates_are_checked_against_the_sites_bundle(
    monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    seen: list[bytes] = []
    with raw_server(noting(seen), tls=server_context(certificate)) as url:
        address = url.replace("127.0.0.1", "localhost")
        untrusted = asked(address, what=asking(), on=ONCE)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        trusted = asked(address, what=asking(), on=ONCE)
    assert (untrusted.kind, trusted.kind) == ("connect", None)
    assert "TLS" in untrusted.message
    assert len(seen) == 1


def test_tunnel_through_a_proxy_shows_it_its_own_credentials_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bytes] = []

    def refuse(connection: socket.socket, ended: threading.Event) -> None:  # noqa: ARG001 - one signature
        seen.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 407 Denied\r\nContent-Length: 0\r\n\r\n")

    with raw_server(refuse) as url:
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("HTTPS_PROXY", url.replace("http://", "http://me:secret@"))
        reply = asked("https://model.invalid", key="sk-abcdef", on=ONCE)
    assert (reply.kind, reply.attempts) == ("connect", 1)
    assert "the proxy answers status 407" in reply.message
    head = seen[0].decode()
    assert head.startswith("CONNECT model.invalid:443 HTTP/1.1")
    assert "Proxy-Authorization: Basic bWU6c2VjcmV0" in head
    assert "sk-abcdef" not in head


def test_encrypted_connection_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
    certificate: Path,
    run_proxy: Callable[[bytes], str],
    tunnelled: list[bytes],
) -> None:
    async def ask_twice(url: str) -> list[Reply]:
        async with upstream_at(url) as upstream:
            return [await upstream.ask(asking(str(number)), ONCE) for number in range(2)]

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("NO_PROXY", "other.invalid")
    with raw_server(saying(OK, OK), tls=server_context(certificate)) as url:
        port = int(url.rpartition(":")[2])
        monkeypatch.setenv("HTTPS_PROXY", run_proxy(b"HTTP/1.1 200 Connection established\r\n\r\n"))
        replies = asyncio.run(ask_twice(f"https://localhost:{port}"))
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
