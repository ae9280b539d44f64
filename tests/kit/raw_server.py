"""A server of raw bytes: what no HTTP library would send."""

import contextlib
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

Behave = Callable[[socket.socket, threading.Event], None]
Serving = Callable[[Behave], contextlib.AbstractContextManager[str]]


@contextlib.contextmanager
def raw_server(behave: Behave, *, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Let `behave` deal with each connection, in a thread of its own; yields the server's address."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, _through(behave, tls), ended), daemon=True).start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()


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


def hang(connection: socket.socket, ended: threading.Event) -> None:
    """Read and never answer."""
    connection.recv(65536)
    ended.wait()


def dribble_header(connection: socket.socket, ended: threading.Event) -> None:
    """Send a header that has no end, byte by byte."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Never: ")
    while not ended.wait(0.05):
        connection.sendall(b"x")


def dribble_body(connection: socket.socket, ended: threading.Event) -> None:
    """Send a body byte by byte."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not ended.wait(0.05):
        connection.sendall(b" ")


def flood(connection: socket.socket, ended: threading.Event) -> None:
    """Send a body that has no end, as fast as it goes."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not ended.is_set():
        connection.sendall(b"[" * 65536)


def no_http(connection: socket.socket, ended: threading.Event) -> None:  # noqa: ARG001 - one signature
    """Answer in another protocol."""
    connection.sendall(b"220 mail.example.org ESMTP ready\r\n")
    connection.recv(65536)


def always(status: int, body: Any, *headers: str) -> Behave:
    """Answer every request alike; a body that is no bytes goes as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(raw)}", "Connection: close", *headers]

    def answer(connection: socket.socket, ended: threading.Event) -> None:  # noqa: ARG001 - one signature
        connection.recv(65536)
        connection.sendall("\r\n".join([*head, "", ""]).encode() + raw)

    return answer


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


def by_path(answers: dict[str, Behave], otherwise: Behave) -> Behave:
    """Choose by what the request's path ends with."""

    def choose(connection: socket.socket, ended: threading.Event) -> None:
        line = connection.recv(65536, socket.MSG_PEEK).split(b"\r\n", 1)[0].decode()
        path = line.split(" ")[1] if " " in line else ""
        found = next((answer for end, answer in answers.items() if path.endswith(end)), otherwise)
        found(connection, ended)

    return choose


def _through(behave: Behave, tls: ssl.SSLContext | None) -> Behave:
    if tls is None:
        return behave

    def serve(connection: socket.socket, ended: threading.Event) -> None:
        with tls.wrap_socket(connection, server_side=True) as wrapped:
            behave(wrapped, ended)

    return serve


def _accept(listener: socket.socket, behave: Behave, ended: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve, args=(connection, behave, ended), daemon=True).start()


def _serve(connection: socket.socket, behave: Behave, ended: threading.Event) -> None:
    with connection, contextlib.suppress(OSError):
        behave(connection, ended)
