"""A process with its descendants: started, found listening, its CPU time and memory, stopped."""

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 15.0


class BenchmarkError(Exception):
    """A contender did not start, or died under load."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A process that listens."""

    pid: int
    port: int

    def cpu_s(self) -> float:
        """Return user and system time of all its processes so far, threads that ended included."""
        # The kernel's CPU clock of a process has nanoseconds, /proc/PID/stat hundredths of a second:
        # clock_getcpuclockid(3) makes its number so.
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in descendants(self.pid))

    def peak_memory_mb(self) -> float:
        """Return the sum of the largest resident sizes of its processes."""
        return sum(_peak_kb(pid) for pid in descendants(self.pid)) / 1024


@contextmanager
def running(
    argv: Sequence[str], *, port: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Start a program, wait until it takes connections, stop it and its descendants at the end."""
    with started(argv, log=log, environment=environment) as process:
        wait_for_port(process, port, log)
        yield Running(pid=process.pid, port=port)


@contextmanager
def started(
    argv: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program in a session of its own; end the whole session afterwards."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            cwd=ROOT,
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until a port of this machine takes connections; raises BenchmarkError where none will."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise BenchmarkError(f"{process.args!r} does not listen on port {port}:\n{log.read_text()[-2000:]}")


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def raise_file_limit() -> None:
    """Let this process and its children hold as many connections as the machine allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def descendants(pid: int) -> list[int]:
    """Return a process and all below it."""
    found = [pid]
    for parent in found:
        for thread in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, thread.read_text().split())
    return found


def _peak_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_STOP_TIMEOUT_S)
