"""Listening sockets that harness containers make in their own network and hand over.

A harness container has no network but its loopback. Its run_eval listens there and passes the socket over a
Unix socket (SCM_RIGHTS, man 7 unix); from then on the adapter accepts what connects to it. The address goes
when the connection over which it came does, so a container that is gone leaves nothing open here. A message
without a socket asks for what is stored to be on disk, where whoever judges the run reads it, and for what
the adapter has stopped the task for. Each task has a Unix socket of its own, which says whose harness it is;
what a message says is not read.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from evaldock_entrypoints.adapter.accepting import Acceptor
from evaldock_entrypoints.adapter.app import App
from evaldock_entrypoints.contract.errors import EvaldockError
from evaldock_entrypoints.contract.files import open_folder

_BACKLOG = 4096
_IDLE_S = 3600  # a harness may think long between two requests
_MESSAGE_BYTES = 65536


class _Protocol(HttpToolsProtocol):
    """Hands the connection to the application: ASGI alone cannot tell whether a client is still there."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_Joined(transport))  # type: ignore[arg-type]

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"evaldock.transport": self.transport}  # type: ignore[dict-item]


class _Joined:
    """A transport that sends the head of an answer with what follows at once, in one system call."""

    __slots__ = ("_held", "_loop", "_transport", "get_extra_info", "is_closing")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self.get_extra_info = transport.get_extra_info
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        held, self._held = self._held, []
        if held and not self.is_closing():  # uvloop raises where the client has gone
            self._transport.writelines(held)


@dataclass(kw_only=True)
class Listeners:
    """All addresses the adapter answers on. room: how many connections it may hold open at a time.

    settle: returns when all that a task's harness was given is on disk, and what the task was stopped for.
    """

    app: App
    room: int
    begin: Callable[[str], None]  # a harness of this task has come
    settle: Callable[[str], Awaitable[dict[str, Any] | None]]
    _state: ServerState = field(default_factory=ServerState)
    _controls: list[socket.socket] = field(default_factory=list)
    _acceptors: dict[socket.socket, Acceptor] = field(default_factory=dict)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    def is_crowded(self) -> bool:
        """Tell whether connections must make room for others."""
        return len(self._state.connections) * 2 > self.room

    def listen(self, listener: socket.socket, task: str | None) -> None:
        """Accept connections on a listening socket from now on."""
        config = uvicorn.Config(
            self.app.bound_to(task),
            http=_Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_IDLE_S,
        )
        config.load()
        self._acceptors[listener] = Acceptor(listener, partial(self._take, config), self._has_room)

    def forget(self, listener: socket.socket) -> None:
        """Stop listening there."""
        acceptor = self._acceptors.pop(listener, None)
        if acceptor is not None:
            acceptor.end()

    def take_over(self, path: Path, task: str) -> None:
        """Take listening sockets for a task from whoever connects to the Unix socket at this path."""
        control = _unix_listener(path)
        self._controls.append(control)
        asyncio.get_running_loop().add_reader(control.fileno(), self._greet, control, task)

    async def close(self, grace_s: float) -> None:
        """Accept nothing more, let answers under way finish for a while, hang up."""
        for control in self._controls:
            asyncio.get_running_loop().remove_reader(control.fileno())
            control.close()
        for listener in list(self._acceptors):
            self.forget(listener)
        waiting = [task for task in self._state.tasks if not task.done()]
        if waiting:
            await asyncio.wait(waiting, timeout=grace_s)
        for connection in list(self._state.connections):
            connection.transport.close()
        for task in (*self._tasks, *self._state.tasks):
            task.cancel()
        await asyncio.sleep(0)

    def _has_room(self) -> bool:
        return len(self._state.connections) + len(self._tasks) < self.room

    def _take(self, config: uvicorn.Config, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._spawn(self._serve(connection, config))

    async def _serve(self, connection: socket.socket, config: uvicorn.Config) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(
            lambda: _Protocol(config=config, server_state=self._state, app_state={}, _loop=loop), connection
        )

    def _greet(self, control: socket.socket, task: str) -> None:
        with contextlib.suppress(OSError):
            visitor, _ = control.accept()
            visitor.setblocking(False)
            self._spawn(self._attend(visitor, task))

    async def _attend(self, visitor: socket.socket, task: str) -> None:
        """Take the sockets that one visitor brings; they stay open as long as the visitor stays."""
        taken: list[socket.socket] = []
        try:
            while await _readable(visitor):
                message, numbers, _, _ = socket.recv_fds(visitor, _MESSAGE_BYTES, 1)
                if not message:
                    return
                with visitor_errors(visitor) as answer:
                    taken += self._taken(task, numbers)
                    if not numbers:
                        answer["stopped"] = await self.settle(task)
        finally:
            for listener in taken:
                self.forget(listener)
            visitor.close()

    def _taken(self, task: str, numbers: list[int]) -> Iterator[socket.socket]:
        with contextlib.ExitStack() as refused:
            listeners = [refused.enter_context(_socket_of(number)) for number in numbers]
            if not all(map(_listens, listeners)):
                raise ValueError("this is no socket that listens for TCP")
            self.begin(task)
            refused.pop_all()
        for listener in listeners:
            self.listen(listener, task)
            yield listener

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _socket_of(number: int) -> socket.socket:
    """Return the socket with this descriptor, which is closed where it is none; raises OSError."""
    try:
        return socket.socket(fileno=number)
    except OSError:
        os.close(number)
        raise


def _listens(given: socket.socket) -> bool:
    """Tell whether connections can be accepted there as on a listener of our own."""
    is_tcp = given.family in (socket.AF_INET, socket.AF_INET6) and given.type == socket.SOCK_STREAM
    return is_tcp and bool(given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


@contextlib.contextmanager
def visitor_errors(visitor: socket.socket) -> Iterator[dict[str, Any]]:
    """Tell the visitor how it went: {"ok": true} with what is put beside it, or what was wrong."""
    answer: dict[str, Any] = {"ok": True}
    try:
        yield answer
    except (ValueError, OSError, EvaldockError) as error:
        visitor.send(orjson.dumps({"ok": False, "error": str(error)}) + b"\n")
    else:
        visitor.send(orjson.dumps(answer) + b"\n")


async def _readable(connection: socket.socket) -> bool:
    """Wait until there is something to read; always true."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection.fileno())
    return True


def _unix_listener(path: Path) -> socket.socket:
    """Listen at a path of any length: the kernel takes 107 bytes, so the folder goes by its descriptor."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.setblocking(False)
    with open_folder(path.parent) as number:
        listener.bind(f"/proc/self/fd/{number}/{path.name}")
    path.chmod(0o600)
    listener.listen(_BACKLOG)
    return listener
