"""The endpoint behind every contender: fixed answers, as cheap as this language allows.

`python -m benchmarks.proxies.upstream --port N [--latency-ms 200 | --think-ms 5] [--answer chat|logprobs]`; a
request with `"stream": true` gets its answer in parts. `GET /calls` tells how many requests came.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import httptools
import uvloop

PARTS = 10
PART_INTERVAL_S = 0.005
_TEXT = "Ordered pairs of primes leave a remainder; the sum of both is even, so the answer follows. "
_LOGPROBS_BYTES = 170_000


@dataclass(kw_only=True)
class Endpoint:
    """What every connection answers with."""

    answer: bytes
    latency_s: float = 0.0  # to within the milliseconds of the event loop's clock
    think_s: float = 0.0  # exact; nobody else is served meanwhile
    calls: int = 0


def chat_answer() -> bytes:
    """Return a chat completion of about 1 kB with a reasoning part."""
    content = f"<think>\n{_TEXT * 4}\n</think>\n{_TEXT * 4}"
    message = {"role": "assistant", "content": content, "tool_calls": None, "refusal": None}
    return _completion({"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"})


def logprobs_answer() -> bytes:
    """Return a chat completion of about 170 kB: log-probabilities of each token and of five others."""
    other = {"token": "alpha", "logprob": -1.23456789, "bytes": [97, 108, 112, 104, 97]}
    token = {**other, "top_logprobs": [other] * 5}
    count = _LOGPROBS_BYTES // len(json.dumps(token, separators=(",", ":")))
    message = {"role": "assistant", "content": "alpha" * count}
    logprobs = {"content": [token] * count}
    return _completion({"index": 0, "message": message, "logprobs": logprobs, "finish_reason": "stop"})


def _completion(choice: Mapping[str, object]) -> bytes:
    usage = {"prompt_tokens": 400, "completion_tokens": 120, "total_tokens": 520}
    head = {"id": "chatcmpl-0", "object": "chat.completion", "created": 1_700_000_000, "model": "m"}
    return json.dumps({**head, "choices": [choice], "usage": usage}, separators=(",", ":")).encode()


def _event(part: Mapping[str, object], finish_reason: str | None) -> bytes:
    choice = {"index": 0, "delta": part, "finish_reason": finish_reason}
    head = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m"}
    event = b"data: " + json.dumps({**head, "choices": [choice]}).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


_PART = _event({"role": "assistant", "content": _TEXT}, None)
_END = _event({}, "stop") + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, endpoint: Endpoint, loop: asyncio.AbstractEventLoop) -> None:
        self._endpoint, self._loop = endpoint, loop
        self._parser = httptools.HttpRequestParser(self)
        self._wants_stream = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has another base

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Look for the wish to have the answer in parts."""
        self._wants_stream |= b'"stream": true' in body or b'"stream":true' in body

    def on_message_complete(self) -> None:
        """Answer, after the fixed time where there is one."""
        if self._parser.get_method() == b"GET":
            self._send(b"%d" % self._endpoint.calls)
            return
        self._endpoint.calls += 1
        time.sleep(self._endpoint.think_s)
        wants_stream, self._wants_stream = self._wants_stream, False
        if self._endpoint.latency_s:
            self._loop.call_later(self._endpoint.latency_s, self._answer, wants_stream)
        else:
            self._answer(wants_stream)

    def _answer(self, wants_stream: bool) -> None:
        if not wants_stream:
            self._send(self._endpoint.answer)
            return
        self._transport.write(_STREAM_HEAD + _PART)
        for number in range(1, PARTS):
            self._loop.call_later(number * PART_INTERVAL_S, self._transport.write, _PART)
        self._loop.call_later(PARTS * PART_INTERVAL_S, self._transport.write, _END)

    def _send(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._transport.write(head % len(body) + body)


async def serve(port: int, endpoint: Endpoint) -> None:
    """Answer until somebody ends the process."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(endpoint, loop), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--think-ms", type=float, default=0.0)
    parser.add_argument("--answer", choices=("chat", "logprobs"), default="chat")
    options = parser.parse_args()
    answer = chat_answer() if options.answer == "chat" else logprobs_answer()
    latency_s, think_s = options.latency_ms / 1000, options.think_ms / 1000
    uvloop.run(serve(options.port, Endpoint(answer=answer, latency_s=latency_s, think_s=think_s)))


if __name__ == "__main__":
    main()
