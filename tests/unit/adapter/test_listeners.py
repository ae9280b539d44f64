"""Connections of harnesses, and the sockets that they hand over."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
import requests
import uvloop
from tests.kit.adapters import RunningAdapter, chat

from evaldock_entrypoints.adapter.listeners import _Joined


@pytest.mark.parametrize("how", ["abort", "close"])
def test_what_is_written_to_a_client_that_has_gone_is_dropped_without_a_word(how: str) -> None:
    said: list[dict[str, Any]] = []

    async def write_late() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: said.append(context))
        ours, theirs = socket.socketpair()
        with theirs:
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            joined = _Joined(transport)
            joined.write(b"on its way")
            getattr(transport, how)()
            await asyncio.sleep(0.02)
            joined.write(b"too late")
            await asyncio.sleep(0.02)
            joined.write(b"later still")
            joined.close()

    uvloop.run(write_late())
    assert said == []


def test_what_is_written_before_a_connection_is_closed_arrives() -> None:
    async def write_and_close() -> bytes:
        ours, theirs = socket.socketpair()
        with theirs:
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
            joined = _Joined(transport)
            joined.write(b"head, ")
            joined.write(b"body")
            joined.close()
            await asyncio.sleep(0.02)
            return theirs.recv(100)

    assert uvloop.run(write_and_close()) == b"head, body"


def test_blocking_stalls_nobody(adapter: RunningAdapter) -> None:
    control = socket.socket(socket.AF_UNIX)
    with control, socket.create_server(("127.0.0.1", 0)) as listener:
        control.connect(str(adapter.control()))
        socket.send_fds(control, [b"\n"], [listener.fileno()])
        assert b'"ok":true' in control.recv(100)
        listener.setblocking(True)  # of the open file that both hold
        with socket.create_connection(listener.getsockname()):
            assert adapter.post(chat()).status_code == 200
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/chat/completions"
        assert [requests.post(url, json=chat(), timeout=5).status_code for _ in range(2)] == [200, 200]
        listener.setblocking(False)
        assert [requests.post(url, json=chat(), timeout=5).status_code for _ in range(2)] == [200, 200]
    assert adapter.post(chat()).status_code == 200


def test_non_sockets_are_closed(adapter: RunningAdapter) -> None:
    def is_open() -> int:
        return len(list(Path(f"/proc/{adapter.process.pid}/fd").iterdir()))

    before = is_open()
    with socket.socket(socket.AF_UNIX) as control, Path("/dev/null").open() as no_socket:
        control.connect(str(adapter.control()))
        for _ in range(20):
            socket.send_fds(control, [b"\n"], [no_socket.fileno()])
            assert b'"ok":false' in control.recv(1000)
    adapter.post(chat())
    assert is_open() < before + 10
