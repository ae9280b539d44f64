"""Connections of harnesses, and the sockets that they hand over."""

import asyncio
import socket
from typing import Any

import pytest
import uvloop

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
