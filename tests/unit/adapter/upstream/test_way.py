"""The way to an endpoint: proxies, certificates, paths as they are."""

import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from tests.kit.raw_server import Behave, raw_server
from tests.kit.upstreams import asked, asking, terms

from evaldock_entrypoints.adapter.upstream.addresses import Address

ONCE = terms(retries=0, total_s=0.5)
ANSWER = b'{"choices": [{"index": 0, "text": "x", "finish_reason": "stop"}]}'


def noting(seen: list[bytes]) -> Behave:
    """Answer, and note what was asked."""

    def serve(connection: socket.socket, ended: threading.Event) -> None:  # noqa: ARG001 - one signature
        seen.append(connection.recv(65536))
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(ANSWER)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + ANSWER)

    return serve


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


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key and a certificate of localhost that nobody signed."""
    path = tmp_path / "localhost.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    argv += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run([*argv, "-keyout", path, "-out", f"{path}.crt"], capture_output=True, check=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def test_certificates_are_checked_against_the_sites_bundle(
    monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    seen: list[bytes] = []
    plain = noting(seen)

    def serve(connection: socket.socket, ended: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            plain(wrapped, ended)

    with raw_server(serve) as url:
        address = url.replace("http://127.0.0.1", "https://localhost")
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
