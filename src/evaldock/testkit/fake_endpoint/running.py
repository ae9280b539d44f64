"""The endpoint as a child process, for tests."""

import http.client
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic
from typing import IO, cast

import orjson

from evaldock.testkit.fake_endpoint.errors import FakeEndpointError
from evaldock.testkit.fake_endpoint.logprobs import LogprobsBug
from evaldock.testkit.fake_endpoint.stats import SeenRequest, Stats

_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 5.0
_CALL_TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class RunningEndpoint:
    """An endpoint that answers; `url` is its root, `port` is None on a Unix socket."""

    url: str
    port: int | None
    pid: int
    uds: Path | None = None

    def stats(self) -> Stats:
        """What was asked and answered since the start or the last reset."""
        return cast(Stats, self._call("GET", "/_fake/stats"))

    def last_requests(self) -> list[SeenRequest]:
        """The last bodies received, oldest first."""
        return cast(list[SeenRequest], self._call("GET", "/_fake/requests"))

    def reset(self, faults: Sequence[Mapping[str, object]] | None = None) -> None:
        """Forget all counts; with `faults`, replace the rules. Raises FakeEndpointError for bad ones."""
        body = b"" if faults is None else orjson.dumps({"faults": faults})
        self._call("POST", "/_fake/reset", body)

    def _call(self, method: str, path: str, body: bytes = b"") -> object:
        with closing(self._connection()) as connection:
            connection.request(method, path, body)
            response = connection.getresponse()
            value: object = orjson.loads(response.read())
        if response.status != 200:
            raise FakeEndpointError(f"{method} {path}: {value}")
        return value

    def _connection(self) -> http.client.HTTPConnection:
        host = self.url.removeprefix("http://") if self.uds is None else "localhost"
        connection = http.client.HTTPConnection(host, timeout=_CALL_TIMEOUT_S)
        if self.uds is not None:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(_CALL_TIMEOUT_S)
            connection.sock.connect(str(self.uds))
        return connection


@contextmanager
def running_endpoint(
    *,
    answers: Sequence[Path] = (),
    share: float = 0.75,
    seed: int = 42,
    model: str = "fake-model",
    host: str = "127.0.0.1",
    port: int = 0,
    uds: Path | None = None,
    latency_ms: float = 0.0,
    slots: int | None = None,
    api_key_name: str | None = None,
    faults: Sequence[Mapping[str, object]] = (),
    logprobs_bug: LogprobsBug = "none",
    env: Mapping[str, str] | None = None,
) -> Iterator[RunningEndpoint]:
    """Run the endpoint in a child process until the block ends; it also ends when this process dies.

    Raises FakeEndpointError, with the child's last words, if it does not answer within 20 s.
    """
    argv = [sys.executable, "-m", "evaldock.testkit.fake_endpoint", "--until_stdin_ends"]
    argv += [
        "--host",
        host,
        "--port",
        str(port),
        "--model",
        model,
        "--share",
        str(share),
        "--seed",
        str(seed),
    ]
    argv += ["--latency_ms", str(latency_ms), "--logprobs_bug", logprobs_bug]
    argv += ["--slots", str(slots)] if slots else []
    argv += ["--faults", orjson.dumps(list(faults)).decode()] if faults else []
    argv += ["--api_key_name", api_key_name] if api_key_name else []
    argv += ["--uds", str(uds)] if uds else []
    argv += [part for path in answers for part in ("--answers", str(path))]
    with TemporaryFile() as errors, _child(argv, errors, env) as child:
        line = _first_line(child)
        if line is None:
            child.kill()
            child.wait()
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip()
            raise FakeEndpointError(f"the fake endpoint did not start (exit code {child.returncode}): {said}")
        announced = orjson.loads(line)
        yield RunningEndpoint(url=announced["url"], port=announced["port"], pid=announced["pid"], uds=uds)


@contextmanager
def _child(
    argv: Sequence[str], errors: IO[bytes], env: Mapping[str, str] | None
) -> Iterator[subprocess.Popen[bytes]]:
    # The child's stdin is our pipe: it closes, and the child stops, even if we are killed.
    child = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env={**os.environ, **(env or {})},
        start_new_session=True,
    )
    with child:
        try:
            yield child
        finally:
            _stop(child)


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(timeout=_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _first_line(child: subprocess.Popen[bytes]) -> bytes | None:
    """The child's first line on stdout; None if it ends or the time is up before one came."""
    assert child.stdout is not None
    deadline = monotonic() + _START_TIMEOUT_S
    while (left_s := deadline - monotonic()) > 0:
        ready, _, _ = select.select([child.stdout], [], [], left_s)
        if ready:
            return child.stdout.readline() or None
    return None
