"""A Docker daemon of our own where none runs: private socket and folders, nothing left behind."""

import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import docker
import requests

from evaldock.supply.mounts import unmount_below
from evaldock.supply.netfilter import NetworkState, network_state, restore_network
from evaldock.supply.paths import cache_home
from evaldock_entrypoints.contract.errors import ExecutionError

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 40.0
_PING_TIMEOUT_S = 5


@dataclass(frozen=True, kw_only=True)
class OwnDaemon:
    """The folders of our daemon. Its run folder is short: a socket path holds 107 bytes at most."""

    data: Path
    run: Path

    @property
    def socket(self) -> Path:
        return self.run / "docker.sock"

    @property
    def docker_host(self) -> str:
        return f"unix://{self.socket}"

    @property
    def log(self) -> Path:
        return self.data.parent / "dockerd.log"

    @property
    def keep_mark(self) -> Path:
        return self.run / "keep"

    @property
    def before(self) -> Path:
        return self.run / "network-before.json"


def own_daemon() -> OwnDaemon:
    """Return the daemon that belongs to the caller's cache folder."""
    data = cache_home() / "docker" / "data"
    return OwnDaemon(data=data, run=Path("/run") / f"evaldock-{hashlib.sha256(bytes(data)).hexdigest()[:8]}")


def answers(docker_host: str) -> bool:
    """Tell whether an engine answers at this address."""
    if docker_host.startswith("unix://"):
        return _socket_answers(docker_host.removeprefix("unix://"))
    client = docker.APIClient(base_url=docker_host, version="1.41", timeout=_PING_TIMEOUT_S)
    try:
        return client.get(f"{client.base_url}/_ping", timeout=_PING_TIMEOUT_S).ok
    except (docker.errors.DockerException, requests.RequestException):
        return False
    finally:
        client.close()


def _socket_answers(path: str) -> bool:
    """Ping by hand: the docker SDK leaks its socket when nobody listens, and we ask often."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PING_TIMEOUT_S)
        try:
            connection.connect(path)
            connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
            return connection.recv(64).partition(b"\r\n")[0].endswith(b" 200 OK")
        except OSError:
            return False


@contextmanager
def in_use(daemon: OwnDaemon, *, keep: bool) -> Iterator[None]:
    """Have the daemon up for as long as the block runs; the last user stops it unless it is to be kept."""
    with _up(daemon) as users:
        if keep:
            daemon.keep_mark.touch()
        try:
            yield
        finally:
            if not daemon.keep_mark.exists() and _is_last_user(users.fileno()):
                stop(daemon)


@contextmanager
def _up(daemon: OwnDaemon) -> Iterator[TextIO]:
    """Yield the file by which users count themselves, with the daemon up.

    Whoever waited for the lock while the last user took the folder away holds a file that is gone: once more.
    """
    while True:
        with ExitStack() as stack:
            try:
                daemon.run.mkdir(mode=0o700, parents=True, exist_ok=True)
                users = stack.enter_context((daemon.run / "users").open("w", encoding="utf-8"))
                starting = stack.enter_context((daemon.run / "starting").open("w", encoding="utf-8"))
            except FileNotFoundError:
                continue
            fcntl.flock(starting, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_SH)
            if not (_is_there(users, daemon) and _is_there(starting, daemon)):
                continue
            if not answers(daemon.docker_host):
                _start(daemon)
            fcntl.flock(starting, fcntl.LOCK_UN)
            yield users
            return


def _is_there(file: TextIO, daemon: OwnDaemon) -> bool:
    """Tell whether the open file is still the one in the daemon's folder."""
    try:
        return (daemon.run / Path(file.name).name).stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def stop(daemon: OwnDaemon) -> None:
    """Stop the daemon, running or crashed, and take away everything it left."""
    for pid in _processes(daemon):
        _end(pid)
    unmount_below(daemon.data)
    unmount_below(daemon.run)
    if daemon.before.exists():
        restore_network(NetworkState.from_json(daemon.before.read_text(encoding="utf-8")))
    shutil.rmtree(daemon.run, ignore_errors=True)


def _is_last_user(users: int) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start(daemon: OwnDaemon) -> None:
    _clear_crashed(daemon)
    daemon.data.mkdir(parents=True, exist_ok=True)
    if not daemon.before.exists():
        daemon.before.write_text(network_state().to_json(), encoding="utf-8")
    # Forked off: with `keep` it outlives this process, which must not be the parent it would wait for.
    argv = ["setsid", "--fork", "dockerd", f"--host={daemon.docker_host}", f"--data-root={daemon.data}"]
    argv += [f"--exec-root={daemon.run}/exec", f"--pidfile={daemon.run}/docker.pid"]
    with daemon.log.open("w", encoding="utf-8") as log:
        subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=30, check=False)
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if answers(daemon.docker_host):
            return
        time.sleep(0.1)
        if not _processes(daemon):
            break
    stop(daemon)
    raise ExecutionError(
        f"our own dockerd does not come up; its last lines:\n{_tail(daemon.log)}",
        where=str(daemon.log),
        next_step="start a Docker engine yourself and set DOCKER_HOST; evaldock doctor names what one needs",
    )


def _clear_crashed(daemon: OwnDaemon) -> None:
    """End what a killed daemon left running; it would hold the storage's locks."""
    for pid in _processes(daemon):
        _end(pid)
    unmount_below(daemon.data)
    unmount_below(daemon.run)
    for leftover in ("docker.pid", "docker.sock"):
        (daemon.run / leftover).unlink(missing_ok=True)
    shutil.rmtree(daemon.run / "exec", ignore_errors=True)


def _processes(daemon: OwnDaemon) -> list[int]:
    """Return the daemon, its containerd and its shims: what was started on our run folder, parents first."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and _runs_on(folder, daemon):
            found.append(int(folder.name))
    return sorted(found)


def _runs_on(process: Path, daemon: OwnDaemon) -> bool:
    try:
        argv = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:  # ended meanwhile
        return False
    program = Path(argv[0].decode(errors="replace")).name
    folder = os.fsencode(daemon.run) + b"/"
    return program.startswith(("dockerd", "containerd")) and any(folder in word for word in argv)


def _end(pid: int) -> None:
    """TERM, then KILL."""
    deadline_s = time.monotonic() + _STOP_TIMEOUT_S
    if not _signal(pid, signal.SIGTERM):
        return
    while time.monotonic() < deadline_s:
        if not _is_running(pid):
            return
        time.sleep(0.05)
    _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


def _tail(path: Path, lines: int = 20) -> str:
    text = path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    return "\n".join(f"    {line}" for line in text)
