"""Keeps one process tree for engine host: a program of its own, `python -IS keeper.py`.

Standard input: a line of JSON (argv, cwd, log, limits), then single bytes: T (TERM) or K (KILL). Its end
means that the owner is gone, and ends the tree as K does. Orphans of the tree come to this process, however
they detached; so it ends when nothing is left of the tree, with the program's status, 128 + n for signal n.
"""

import contextlib
import ctypes
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LINE_BYTES = 16 * 1024
_KILL_TIMEOUT_S = 20.0
_DRAIN_TIMEOUT_S = 2.0


class Log:
    """The output: lines cut at a length, and two files, so that the newest half of the bound remains."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._path, self._half = path, limit_bytes // 2
        self._file = path.open("wb", buffering=0)
        self._written = self._column = 0

    def write(self, chunk: bytes) -> None:
        """Append output; a full disk loses it and nothing else."""
        kept = b"".join(self._cut(line) for line in chunk.splitlines(keepends=True))
        with contextlib.suppress(OSError):
            if self._written + len(kept) > self._half:
                self._path.replace(f"{self._path}.1")
                self._file.close()
                self._file = self._path.open("wb", buffering=0)
                self._written = 0
            self._file.write(kept)
        self._written += len(kept)

    def _cut(self, line: bytes) -> bytes:
        room = max(_LINE_BYTES - self._column, 0)
        is_whole = line.endswith((b"\n", b"\r"))
        self._column = 0 if is_whole else self._column + len(line)
        return line if len(line) <= room else line[:room] + (b"\n" if is_whole else b"")


class Tree:
    """The program and all that comes from it."""

    def __init__(self, order: dict[str, Any]) -> None:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.status: int | None = None
        self._process = subprocess.Popen(
            order["argv"],
            cwd=order["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: _prepare(order["limits"]),
        )
        assert self._process.stdout is not None
        self.output = self._process.stdout.fileno()
        os.set_blocking(self.output, False)

    def reap(self) -> None:
        """Collect whoever ended, the program and adopted orphans alike."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self._process.pid:
                    self.status = os.waitstatus_to_exitcode(status)

    def terminate(self) -> None:
        """Send TERM to the program's group, as the init of our images does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Send KILL until nothing of the tree is left."""
        deadline = time.monotonic() + _KILL_TIMEOUT_S
        while (found := descendants(os.getpid())) and time.monotonic() < deadline:
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.reap()
            time.sleep(0.01)


def descendants(root: int) -> list[int]:
    """Return every process below root."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, IndexError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found: set[int] = set()
    newest = {root}
    while newest:
        newest = {pid for pid, parent in parents.items() if parent in newest} - found
        found |= newest
    return sorted(found)


def _prepare(limits: dict[str, int]) -> None:
    """Run between fork and exec."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for name, value in limits.items():
        number = getattr(resource, f"RLIMIT_{name.upper()}")
        hard = resource.getrlimit(number)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (bound, bound))


def _read_order() -> dict[str, Any]:
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)  # not a byte more: what follows is for the loop
        if not byte:
            sys.exit(1)
        line += byte
    order: dict[str, Any] = json.loads(line)
    return order


def _wake_on(*numbers: signal.Signals) -> int:
    """Return a descriptor from which the numbers of these signals can be read; they do nothing else.

    Handlers and not SIG_IGN, which the program would inherit.
    """
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(writer)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return reader


def _keep(tree: Tree, log: Log, woken: int) -> None:
    """Carry output and commands until the program has ended."""
    with selectors.DefaultSelector() as selector:
        for source in (0, tree.output, woken):
            selector.register(source, selectors.EVENT_READ)
        tree.reap()  # it may have ended before we listened
        while tree.status is None:
            for key, _ in selector.select():
                data = os.read(key.fd, 65536)
                if key.fd == tree.output:
                    log.write(data)
                elif key.fd == 0 and (not data or b"K" in data):
                    tree.kill()
                elif (b"T" in data) if key.fd == 0 else (signal.SIGTERM in data):
                    tree.terminate()
                if not data:
                    selector.unregister(key.fd)
            tree.reap()


def _drain(tree: Tree, log: Log) -> None:
    """Write what is still in the pipe after the program's end."""
    deadline = time.monotonic() + _DRAIN_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            data = os.read(tree.output, 65536)
        except BlockingIOError:
            return
        if not data:
            return
        log.write(data)


def main() -> int:
    """Keep the tree of the order that comes in; return the status to exit with."""
    woken = _wake_on(signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    order = _read_order()
    log = Log(Path(order["log"]), order["log_bytes"])
    try:
        tree = Tree(order)
    except OSError as error:
        log.write(f"cannot start {order['argv'][0]}: {error.strerror}\n".encode())
        return 127
    _keep(tree, log, woken)
    tree.kill()
    _drain(tree, log)
    status = tree.status if tree.status is not None else 1
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
