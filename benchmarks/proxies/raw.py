"""The bare stack that the adapter stands on: an ASGI app on uvicorn that passes requests on by aiohttp.

`python -m benchmarks.proxies.raw --port N --upstream http://127.0.0.1:M [--edit]`; with --edit each request
is parsed, gets a system message, and is written again.
"""

import argparse
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
import orjson
import uvicorn

_DROPPED = frozenset({b"host", b"content-length", b"connection", b"transfer-encoding", b"accept-encoding"})

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class PassThrough:
    """The app: what an adapter costs that does nothing at all."""

    def __init__(self, upstream: str, *, edits: bool) -> None:
        self._upstream, self._edits = upstream, edits
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass one request on, and its answer back."""
        session = self._session or self._open()
        body = await _read(receive)
        if self._edits:
            body = _edited(body)
        headers = {name.decode(): value.decode() for name, value in scope["headers"] if name not in _DROPPED}
        async with session.request(
            scope["method"], self._upstream + scope["path"], data=body, headers=headers
        ) as answer:
            content = await answer.read()
            kept = [(name, value) for name, value in answer.raw_headers if name.lower() not in _DROPPED]
        kept.append((b"content-length", b"%d" % len(content)))
        await send({"type": "http.response.start", "status": answer.status, "headers": kept})
        await send({"type": "http.response.body", "body": content})

    def _open(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), auto_decompress=False, skip_auto_headers=("User-Agent",)
        )
        return self._session


async def _read(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    return body


def _edited(body: bytes) -> bytes:
    tree = orjson.loads(body)
    tree["messages"].insert(0, {"role": "system", "content": "You are a careful assistant."})
    return orjson.dumps(tree)


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--edit", action="store_true")
    options = parser.parse_args()
    uvicorn.run(
        PassThrough(options.upstream, edits=options.edit),
        port=options.port,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        access_log=False,
        log_level="warning",
        backlog=4096,
        timeout_keep_alive=60,
    )


if __name__ == "__main__":
    main()
