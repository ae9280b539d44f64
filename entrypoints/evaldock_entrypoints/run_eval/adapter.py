"""The adapter as a harness's container meets it: that of the run, or one of its own where it stands alone."""

import json
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.adapter import (
    EXCHANGES,
    SOCKET_NAME,
    STATUS_NAME,
    AdapterSettings,
    Served,
    TaskSettings,
    socket_folder,
)
from evaldock_entrypoints.contract.built_in_interceptors import BUILT_IN
from evaldock_entrypoints.contract.endpoint import Endpoint, route_url
from evaldock_entrypoints.contract.errors import EvaldockError, ExecutionError, ExitCode
from evaldock_entrypoints.contract.files import open_folder, write_bytes
from evaldock_entrypoints.run_eval.job import Job

_ANSWER_TIMEOUT_S = 30.0
_SETTLE_TIMEOUT_S = 330.0  # the store's own patience with a disk is shorter
_ENDING_S = 1.0
_STOP_TIMEOUT_S = 15.0
PATIENCE_S = 86_400.0  # how long a harness waits for one answer: the adapter bounds each, but not its turn
_ANSWER_BYTES = 4096
_PASSED_ON = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PYTHONPATH"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)


@dataclass(frozen=True, kw_only=True)
class Doorway:
    """Where the harness finds its endpoints. own: the adapter that was started for this task alone."""

    reached: Mapping[str | None, Endpoint]  # by role; None: the model under evaluation
    listener: "HandedOver"
    own: "OwnAdapter | None" = None

    def refuse_stopped(self) -> None:
        """Raise what the adapter ended this task for, ExecutionError where it has ended itself."""
        if self.own is not None:
            self.own.refuse_stopped()

    def settle(self) -> None:
        """Wait until the harness's exchanges are on disk; raises what the adapter ended this task for."""
        try:
            self.listener.settle()
        except ExecutionError:
            if self.own is not None:
                self.own.refuse_ended(wait_s=_ENDING_S)
            raise


@contextmanager
def doorway(
    job: Job,
    settings: TaskSettings,
    *,
    socket_path: Path | None,
    environ: Mapping[str, str],
    replays: bool = False,
) -> Iterator[Doorway]:
    """Open the harness's way through the adapter; raises ExecutionError where there is none.

    socket_path: where the run's adapter takes listening sockets; None starts one of our own, which asks
    nobody where it `replays` what is stored.
    """
    task = f"{job.framework.name}.{job.task.name}"
    with ExitStack() as stack:
        own = None
        if socket_path is None:
            whole = AdapterSettings(tasks={task: settings}, folder="", replay=replays)
            own = stack.enter_context(own_adapter(task, whole, environ, job.logs_dir / "adapter.log"))
            socket_path = own.folder / socket_folder(task) / SOCKET_NAME
        listener = stack.enter_context(handed_over(socket_path))
        further = ((role, one.endpoint) for role, one in job.auxiliary.items())
        models: list[tuple[str | None, Endpoint]] = [(None, job.endpoint), *further]
        base = f"http://127.0.0.1:{listener.port}/t/{task}"
        reached = {role: _reached(model, base, role) for role, model in models}
        yield Doorway(reached=reached, listener=listener, own=own)


def _reached(model: Endpoint, base: str, role: str | None) -> Endpoint:
    """Return a model as it is found behind the adapter."""
    url = f"{base}/v1" if role is None else f"{base}/aux/{role}/v1"
    return replace(model, base_url=url, url=route_url(url, model.type), api_key_name=None)


@contextmanager
def handed_over(path: Path) -> Iterator["HandedOver"]:
    """Listen on this network's loopback and hand the socket to the adapter; raises ExecutionError.

    The adapter answers there until the block ends.
    """
    with _connected(path) as control, socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        handed = HandedOver(port=int(listener.getsockname()[1]), path=path, control=control)
        handed.tell([listener.fileno()])
        listener.close()  # it is the adapter's from now on
        yield handed


@dataclass(frozen=True, kw_only=True)
class HandedOver:
    """A listening socket that the adapter has. control: the connection that keeps it open."""

    port: int
    path: Path
    control: socket.socket

    def settle(self) -> None:
        """Wait until what was answered is on disk, where the proof is read; raises what stopped the task."""
        self.control.settimeout(_SETTLE_TIMEOUT_S)
        if stopped := self.tell(()).get("stopped"):
            raise told(stopped)

    def tell(self, numbers: Sequence[int]) -> dict[str, Any]:
        """Send descriptors, or ask without any; return the adapter's answer. Raises ExecutionError."""
        try:
            socket.send_fds(self.control, [b"\n"], numbers)
            answer: dict[str, Any] = json.loads(_line(self.control) or b"{}")
        except (OSError, ValueError) as error:
            raise _unreachable(self.path, error) from error
        if answer.get("ok") is not True:
            raise _unreachable(self.path, answer.get("error", "it hung up"))
        return answer


def _line(control: socket.socket) -> bytes:
    """Return what is said up to the end of a line, all there is where the other side hangs up before."""
    said = b""
    while not said.endswith(b"\n") and (part := control.recv(_ANSWER_BYTES)):
        said += part
    return said


def _connected(path: Path) -> socket.socket:
    control = socket.socket(socket.AF_UNIX)
    control.settimeout(_ANSWER_TIMEOUT_S)
    try:
        with open_folder(path.parent) as number:
            control.connect(f"/proc/self/fd/{number}/{path.name}")
    except OSError as error:
        control.close()
        raise _unreachable(path, error) from error
    return control


def _unreachable(path: Path, why: object) -> ExecutionError:
    return ExecutionError(
        f"the run's adapter cannot be reached: {why}",
        where=str(path),
        next_step="see logs/ for what it said last, then resume",
    )


@dataclass(frozen=True, kw_only=True)
class OwnAdapter:
    """An adapter that this process started. log: what it says."""

    task: str
    folder: Path
    process: "subprocess.Popen[bytes]"
    log: Path

    def refuse_ended(self, *, wait_s: float = 0.0) -> None:
        """Raise ExecutionError where it has ended by itself, or does so within wait_s."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(wait_s)
            raise ExecutionError(
                f"the adapter ended by itself, with status {self.process.returncode}",
                where=str(self.log),
                next_step="read what it said there; the same command resumes",
            )

    def refuse_stopped(self) -> None:
        """Raise what the adapter ended this task for, ExecutionError where it has ended itself."""
        self.refuse_ended()
        status = _read(self.folder / STATUS_NAME)
        stopped = status.get("fatal") or status.get("tasks", {}).get(self.task, {}).get("stopped")
        if stopped:
            raise told(stopped)


def told(error: Mapping[str, Any]) -> EvaldockError:
    """Return an error as the adapter's status tells it."""
    found = EvaldockError(str(error["message"]), where=error.get("where"), next_step=error.get("next"))
    found.exit_code = ExitCode(int(error["exit_code"]))
    return found


@contextmanager
def own_adapter(
    task: str, settings: AdapterSettings, environ: Mapping[str, str], log: Path
) -> Iterator[OwnAdapter]:
    """Run an adapter for one task while the block runs; raises ExecutionError where it does not start."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="evaldock-adapter-") as name, log.open("ab") as output:
        folder = Path(name)
        placed = settings.model_copy(update={"folder": str(folder)})
        write_bytes(folder / "settings.json", placed.model_dump_json().encode())
        argv = ["-m", "evaldock_entrypoints.adapter.cli", "--settings", str(folder / "settings.json")]
        process = subprocess.Popen(
            [sys.executable, "-B", *argv, "--until_stdin_ends"],
            env=_environment(settings.tasks[task], environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            start_new_session=True,
        )
        with process:
            try:
                _wait_until_ready(process, log)
                yield OwnAdapter(task=task, folder=folder, process=process, log=log)
            finally:
                _stop(process)


def replayed(settings: TaskSettings, job: Job) -> TaskSettings:
    """Return what an adapter is told that answers from the task's exchanges alone: no keys, no records."""
    return settings.model_copy(
        update={
            "target": _answered_again(settings.target),
            "auxiliary": {role: _answered_again(served) for role, served in settings.auxiliary.items()},
            "folder": str(job.work_dir),
            "replayed": str(job.output_dir / EXCHANGES),
        }
    )


def _answered_again(served: Served) -> Served:
    chain = [
        one for one in served.interceptors if not (one.name in BUILT_IN and BUILT_IN[one.name].only_records)
    ]
    return served.model_copy(update={"api_key_name": None, "interceptors": chain})


def key_values(settings: TaskSettings, environ: Mapping[str, str]) -> list[str]:
    """Return the keys that this process's own environment holds: no log may show them."""
    models = (settings.target, *settings.auxiliary.values())
    return [environ[name] for model in models if (name := model.api_key_name) and environ.get(name)]


def _environment(settings: TaskSettings, environ: Mapping[str, str]) -> dict[str, str]:
    models = (settings.target, *settings.auxiliary.values())
    keys = [model.api_key_name for model in models if model.api_key_name]
    return {name: environ[name] for name in (*_PASSED_ON, *keys) if name in environ}


def _wait_until_ready(process: "subprocess.Popen[bytes]", log: Path) -> None:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], _ANSWER_TIMEOUT_S)
    if not readable or not process.stdout.readline():
        last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        raise ExecutionError(
            "the adapter does not start",
            where=str(log),
            next_step="its last lines:\n" + "\n".join(f"    {line}" for line in last),
        )


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read(path: Path) -> dict[str, Any]:
    try:
        status = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}
