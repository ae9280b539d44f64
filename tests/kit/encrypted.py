"""Servers that speak TLS, with a certificate that nobody signed."""

import http.client
import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kit.raw_server import Behave, raw_server

from evaldock.testkit.fake_endpoint import RunningEndpoint


def make_certificate(path: Path) -> Path:
    """Write a key and a certificate of this machine's own address; return the path."""
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    argv += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"]
    subprocess.run([*argv, "-keyout", path, "-out", f"{path}.crt"], capture_output=True, check=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def server_context(certificate: Path) -> ssl.SSLContext:
    """Return what a server with this certificate needs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@dataclass(frozen=True)
class EncryptedEndpoint(RunningEndpoint):
    """An endpoint behind TLS, which is told of faults without."""

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)


@contextmanager
def encrypted(endpoint: RunningEndpoint, tls: ssl.SSLContext) -> Iterator[RunningEndpoint]:
    """Stand before an endpoint."""
    assert endpoint.port is not None
    with raw_server(_relaying(endpoint.port), tls=tls) as url:
        yield EncryptedEndpoint(url=url, port=endpoint.port, pid=endpoint.pid)


def _relaying(port: int) -> Behave:
    """Pass all bytes on, both ways, until either side hangs up."""

    def serve(outer: socket.socket, _: threading.Event) -> None:
        assert isinstance(outer, ssl.SSLSocket)
        with socket.create_connection(("127.0.0.1", port)) as inner:
            while True:
                ready = [outer] if outer.pending() else select.select([outer, inner], [], [])[0]
                for source in ready:
                    data = source.recv(65536)
                    if not data:
                        return
                    (inner if source is outer else outer).sendall(data)

    return serve
