"""An engine that answers what a doctor asks, and sockets that answer nothing."""

import json
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

DOCKER: Mapping[str, object] = {
    "Version": "20.10.24",
    "ApiVersion": "1.41",
    "MinAPIVersion": "1.12",
    "Components": [{"Name": "Engine", "Version": "20.10.24"}, {"Name": "containerd", "Version": "1.6"}],
}
PODMAN: Mapping[str, object] = {
    "Version": "4.3.1",
    "ApiVersion": "1.41",
    "Components": [{"Name": "Podman Engine", "Version": "4.3.1"}],
}
ENFORCED: Mapping[str, object] = {
    "Driver": "overlay2",
    "CgroupDriver": "systemd",
    "CgroupVersion": "2",
    "MemoryLimit": True,
    "SwapLimit": True,
    "PidsLimit": True,
    "CpuCfsQuota": True,
    "SecurityOptions": ["name=seccomp,profile=default"],
    "Runtimes": {"runc": {"path": "runc"}},
}


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    answers: Mapping[str, object]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        route = urlsplit(self.path).path
        _, _, below = route.removeprefix("/").partition("/")  # without the API's version
        answer = self.server.answers.get(below, self.server.answers.get(route.rpartition("/")[2]))
        body = json.dumps({"message": "no such thing"} if answer is None else answer).encode()
        self.send_response(404 if answer in (None, {}) else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def address_string(self) -> str:
        return "unix"


@contextmanager
def fake_engine(
    folder: Path,
    info: Mapping[str, object] | None = None,
    version: Mapping[str, object] | None = None,
    answers: Mapping[str, object] | None = None,
) -> Iterator[str]:
    """Yield the address of an engine that says this of itself, and answers other routes so."""
    path = folder / "e.sock"
    with _Server(str(path), _Handler) as server:
        server.answers = {
            "_ping": "OK",
            "version": DOCKER if version is None else version,
            "info": ENFORCED if info is None else info,
            **(answers or {}),
        }
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"unix://{path}"
        finally:
            server.shutdown()
            thread.join()
            path.unlink()


@contextmanager
def silent_socket(folder: Path) -> Iterator[str]:
    """Yield the address of a socket that takes connections and never answers."""
    path = folder / "s.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(64)
        yield f"unix://{path}"


@contextmanager
def silent_port() -> Iterator[int]:
    """Yield a port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]
