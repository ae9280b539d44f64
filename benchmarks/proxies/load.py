"""A load generator: as many connections as asked for, each sending its next request when it has its answer.

`python -m benchmarks.proxies.load JSON` with the fields of Load; prints the fields of Outcome.
"""

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop
from benchmarks.proxies.processes import ROOT, raise_file_limit

BODY_BYTES = 1900
_DIGITS = 12
_GRACE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is asked: `requests` of them, or as many as `seconds` allow after `warm_up_s`."""

    url: str
    connections: int
    seconds: float | None = None
    requests: int | None = None
    warm_up_s: float = 0.0  # answers to requests sent before that are not counted
    first: int = 0  # every request says its number, from this one on: no two bodies are the same
    stream: bool = False
    spread_s: float = 0.0  # the connections send their first request spread over this time


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came back. Times are of answered requests; `sent` holds those before the warm-up's end, too."""

    sent: int
    answered: int
    errors: int
    wall_s: float
    p50_ms: float
    p99_ms: float
    first_part_p50_ms: float

    @property
    def per_second(self) -> float:
        """Answered requests per second."""
        return self.answered / self.wall_s


def put(load: Load) -> Outcome:
    """Put the load on a server from a process of its own."""
    argv = [sys.executable, "-m", "benchmarks.proxies.load", json.dumps(asdict(load))]
    timeout_s = _timeout_s(load) + _GRACE_S
    done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=timeout_s)
    return Outcome(**json.loads(done.stdout))


def _timeout_s(load: Load) -> float:
    return (load.seconds or 600.0) + load.warm_up_s + _GRACE_S


class _Generator:
    """What the connections share: the next number, the clock, what was measured."""

    def __init__(self, load: Load) -> None:
        self._load = load
        parts = urlsplit(load.url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        before, after = _body(stream=load.stream)
        head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\naccept: */*\r\n"
        head += "content-type: application/json\r\nauthorization: Bearer none\r\nuser-agent: load\r\n"
        head += f"content-length: {len(before) + _DIGITS + len(after)}\r\n\r\n"
        self._before, self._after = head.encode() + before, after
        self.sent, self.errors = 0, 0
        self.latencies: list[float] = []
        self.first_parts: list[float] = []
        self._begins = time.perf_counter() + load.warm_up_s
        self._ends = self._begins + (load.seconds or float("inf"))
        self.last = self._begins

    def next_request(self) -> bytes | None:
        """Return the next request, None when it is enough."""
        if self.sent == self._load.requests or time.perf_counter() >= self._ends:
            return None
        number = self._load.first + self.sent
        self.sent += 1
        return b"%b%012d%b" % (self._before, number, self._after)

    def note(self, sent_at: float, first_at: float, now: float) -> None:
        """Keep one answer's times, unless it is of the warm-up or too late."""
        if self._begins <= now <= self._ends:
            self.latencies.append(now - sent_at)
            self.first_parts.append(first_at - sent_at)
            self.last = now

    async def run(self) -> Outcome:
        """Open all connections and wait for their ends."""
        count = self._load.connections
        pauses = [self._load.spread_s * number / count for number in range(count)]
        tasks = [asyncio.create_task(self._client(pause)) for pause in pauses]
        _, hanging = await asyncio.wait(tasks, timeout=_timeout_s(self._load))
        self.errors += len(hanging)
        latencies, first_parts = sorted(self.latencies), sorted(self.first_parts)
        wall_s = self._load.seconds or self.last - self._begins
        return Outcome(
            sent=self.sent,
            answered=len(latencies),
            errors=self.errors,
            wall_s=wall_s,
            p50_ms=_quantile(latencies, 0.5) * 1000,
            p99_ms=_quantile(latencies, 0.99) * 1000,
            first_part_p50_ms=_quantile(first_parts, 0.5) * 1000,
        )

    async def _client(self, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        loop = asyncio.get_running_loop()
        while (request := self.next_request()) is not None:
            done: asyncio.Future[None] = loop.create_future()
            try:
                await loop.create_connection(partial(_Connection, self, request, done), self.host, self.port)
            except OSError:
                self.errors += 1
                await asyncio.sleep(0.01)
                continue
            await done


class _Connection(asyncio.Protocol):
    """One connection, request after request until it is enough or the server closes it."""

    def __init__(self, generator: _Generator, request: bytes, done: asyncio.Future[None]) -> None:
        self._generator, self._request, self._done = generator, request, done
        self._parser = httptools.HttpResponseParser(self)
        self._sent_at = self._first_at = 0.0
        self._is_waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has another base
        self._send(self._request)

    def connection_lost(self, _: Exception | None) -> None:
        if self._is_waiting:
            self._generator.errors += 1
        if not self._done.done():
            self._done.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, _: bytes) -> None:
        """Note when the first part of the answer came."""
        self._first_at = self._first_at or time.perf_counter()

    def on_message_complete(self) -> None:
        """Note the answer and go on."""
        self._is_waiting = False
        if self._parser.get_status_code() == 200:
            self._generator.note(self._sent_at, self._first_at, time.perf_counter())
        else:
            self._generator.errors += 1
        if not self._parser.should_keep_alive():
            self._transport.close()
        elif (request := self._generator.next_request()) is not None:
            self._send(request)
        else:
            self._transport.close()

    def _send(self, request: bytes) -> None:
        self._is_waiting = True
        self._sent_at, self._first_at = time.perf_counter(), 0.0
        self._transport.write(request)


def _body(*, stream: bool) -> tuple[bytes, bytes]:
    """Return a chat request of BODY_BYTES as what stands before its number and after it."""
    mark = "#" * _DIGITS
    request = {
        "model": "m",
        "messages": [{"role": "user", "content": f"Problem {mark}. "}],
        "temperature": 0.0,
        "max_tokens": 512,
        "stream": stream,
    }
    messages = request["messages"]
    assert isinstance(messages, list)
    text = "How many ordered pairs (a, b) of primes leave a remainder of 1? "
    missing = BODY_BYTES - len(json.dumps(request))
    messages[0]["content"] += (text * (missing // len(text) + 1))[:missing]
    before, _, after = json.dumps(request).encode().partition(mark.encode())
    return before, after


def _quantile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


async def _run(load: Load) -> Outcome:
    return await _Generator(load).run()


def main() -> None:
    """Put one load on a server, print what came back."""
    raise_file_limit()
    outcome = uvloop.run(_run(Load(**json.loads(sys.argv[1]))))
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
