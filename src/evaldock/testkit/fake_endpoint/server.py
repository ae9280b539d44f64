"""Runs the endpoint on uvicorn, with the connection's transport handed to the application."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from evaldock.testkit.fake_endpoint.app import FakeEndpoint
from evaldock.testkit.fake_endpoint.errors import FakeEndpointError

_BACKLOG = 4096
_GRACE_S = 1


class _Protocol(HttpToolsProtocol):
    """Puts the transport into the scope: ASGI alone can neither reset a connection nor cut a body."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"evaldock.transport": {"transport": self.transport}}


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, *, started: Callable[[], None], until_stdin_ends: bool
    ) -> None:
        super().__init__(config)
        self._announce = started
        self._until_stdin_ends = until_stdin_ends

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._until_stdin_ends:
            asyncio.get_running_loop().add_reader(sys.stdin, self._stdin_readable)
        self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        # Not uvicorn's own: it raises the signal again at the end, which would skip the caller's clean-up.
        self.force_exit = self.should_exit
        self.should_exit = True

    def _stdin_readable(self) -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            asyncio.get_running_loop().remove_reader(sys.stdin)
            self.should_exit = True


def bind(host: str, port: int, uds: Path | None) -> socket.socket:
    """A listening address: a Unix socket if `uds` is given, else TCP. Raises FakeEndpointError."""
    try:
        if uds is None:
            return _tcp_listener(host, port)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(uds))
    except OSError as error:
        raise FakeEndpointError(f"cannot listen on {uds or f'{host}:{port}'}: {error}") from error
    return listener


def _tcp_listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY; without it each answer waits 40 ms for a delayed ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


def serve(
    app: FakeEndpoint, listener: socket.socket, *, started: Callable[[], None], until_stdin_ends: bool
) -> None:
    """Serve on `listener` until SIGTERM or SIGINT (or the end of stdin); calls `started` once it answers."""
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_level="critical",
        access_log=False,
        backlog=_BACKLOG,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=_GRACE_S,
        server_header=False,
    )
    _Server(config, started=started, until_stdin_ends=until_stdin_ends).run(sockets=[listener])
