"""Engine host: a plan's units as ordinary processes, in environments made from the images' own inputs."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from evaldock.engines import keeper
from evaldock.engines.engine import STOP_GRACE_S, Exit
from evaldock.engines.gpus import host_gpus
from evaldock.engines.host_environment import VISIBLE, image_paths, seen_gpus, unit_environment
from evaldock.engines.host_leftovers import Workplace, kill_all_of, open_workplace, sweep
from evaldock.engines.host_paths import LOOPBACK, Places
from evaldock.gpus import number_of
from evaldock.pins import ImagePin
from evaldock.plan import EngineName, Plan, Unit
from evaldock.supply.environments import ORIGIN, Environment
from evaldock.untrusted_folders import new_file
from evaldock_entrypoints.contract.errors import ExecutionError, UsageError

_LOG_BYTES = 64 * 1024**2  # as of Docker's log
_KEEPER_TIMEOUT_S = 30.0
_DEFAULT_PORT = 8080  # of `serve`


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a unit comes to on this machine."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path  # private: tmp/ and the log
    limits: Mapping[str, int]
    gpus: tuple[str, ...] = ()

    @property
    def tmp(self) -> Path:
        return self.folder / "tmp"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def as_line(self) -> bytes:
        """Return the order as its keeper reads it; the environment is handed over as the keeper's own."""
        fields = {
            "argv": self.argv,
            "cwd": str(self.tmp),
            "log": str(self.log),
            "log_bytes": _LOG_BYTES,
            "limits": dict(self.limits),
        }
        return json.dumps(fields).encode() + b"\n"


class HostProcess:
    """A unit's processes; a context manager that starts them and leaves none, whatever happens."""

    def __init__(self, unit: Unit, order: Order) -> None:
        self.unit = unit
        self.ended = threading.Event()
        self._order = order
        self._waiter = threading.Thread(target=self._wait, daemon=True)
        self._telling = threading.Lock()
        self._oom_kills_before = _oom_kills()

    @property
    def gpus(self) -> tuple[str, ...]:
        """The GPUs that the unit sees."""
        return self._order.gpus

    def __enter__(self) -> Self:
        if self.unit.role == "server":
            refuse_taken_port(self.unit)
        self._order.tmp.mkdir(parents=True, exist_ok=True)
        self._keeper = subprocess.Popen(
            [sys.executable, "-IS", keeper.__file__],
            env=dict(self._order.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._waiter.start()
        self._tell(self._order.as_line())
        return self

    def __exit__(self, *_: object) -> None:
        self._tell(b"K")
        if not self.ended.wait(_KEEPER_TIMEOUT_S):
            self._keeper.kill()
            self.ended.wait()
        if self._keeper.stdin is not None:
            with contextlib.suppress(OSError):
                self._keeper.stdin.close()
        kill_all_of(self._order.folder)  # nobody, unless the keeper itself was killed

    def stop(self, grace_s: int = STOP_GRACE_S) -> None:
        """Send TERM, then KILL after grace_s."""
        self._tell(b"T")
        if not self.ended.wait(grace_s):
            self._tell(b"K")
            self.ended.wait(_KEEPER_TIMEOUT_S)

    def exit(self) -> Exit:
        """Return how the ended unit ended."""
        code = self._keeper.wait()
        code = code if code >= 0 else 128 - code
        was_killed = code == 128 + signal.SIGKILL
        return Exit(
            code=code,
            out_of_memory=was_killed and _oom_kills() > self._oom_kills_before,
            last_lines=self.last_lines(),
        )

    def last_lines(self, count: int = 20) -> tuple[str, ...]:
        """Return the last lines of the unit's output."""
        lines: deque[str] = deque(maxlen=count)
        for part in self._logs():
            with part.open(encoding="utf-8", errors="replace", newline="\n") as log:
                lines.extend(line.rstrip("\r\n") for line in log)
        return tuple(lines)

    def save_log(self, path: Path) -> None:
        """Write the unit's whole output to a file."""
        with contextlib.suppress(OSError), new_file(path) as file:
            file.write(b"".join(part.read_bytes() for part in self._logs()))

    def _logs(self) -> list[Path]:
        log = self._order.log
        return [part for part in (log.with_name(f"{log.name}.1"), log) if part.is_file()]

    def _tell(self, command: bytes) -> None:
        with self._telling, contextlib.suppress(OSError, ValueError):
            assert self._keeper.stdin is not None
            self._keeper.stdin.write(command)
            self._keeper.stdin.flush()

    def _wait(self) -> None:
        self._keeper.wait()
        self.ended.set()


class HostEngine:
    """Runs units as processes of this user on behalf of one run; a context manager."""

    name: EngineName = "host"
    isolates = False

    def __init__(self, run_id: str, environments: Mapping[str, Environment]) -> None:
        self._run_id = run_id
        self._environments = environments
        self._workplace: Workplace | None = None

    def __enter__(self) -> Self:
        self._workplace = open_workplace(self._run_id)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._workplace is not None
        self._workplace.clear()

    def used(self, pin: ImagePin) -> ImagePin:
        """Return what stands for the image, which was not used: the environment's input hash is its ID."""
        made = {"image_id": self._environments[pin.name].input_hash, "origin": ORIGIN}
        return pin.model_copy(update={**made, "digest": None, "reason": None})

    def sweep(self) -> list[str]:
        """End and remove what runs on this host left behind whose process is gone; return what it was."""
        return sweep()

    @contextlib.contextmanager
    def network(self, *, internal: bool) -> Iterator[str]:  # noqa: ARG002 - there is one network, the host's
        """Yield a name for the host's own network."""
        yield "host"

    def spelt(self, unit: Unit, text: str) -> str:
        """Return a path or an address of the unit's container as its processes spell it: this machine's."""
        return self._places(unit).text(text)

    def create(
        self,
        unit: Unit,
        *,
        user: str,  # noqa: ARG002 - it is this process's
        network: str | None,  # noqa: ARG002
        alias: str | None,  # noqa: ARG002
        secrets: Mapping[str, str],
    ) -> HostProcess:
        """Return the unit's processes, not yet started; raises UsageError for more GPUs than there are."""
        environment = self._environments[unit.image.name]
        places = self._places(unit)
        variables = unit_environment(environment, unit, places, secrets=secrets, caller=os.environ)
        order = Order(
            argv=tuple(_command(environment, places.argv(unit.argv), unit)),
            environment=variables,
            folder=self._folder(unit),
            limits=unit.limits.ulimits,  # not RLIMIT_AS: it would count what engines only reserve
            gpus=seen_gpus(unit, variables.get(VISIBLE), host_gpus()) if number_of(unit.gpus) != 0 else (),
        )
        return HostProcess(unit, order)

    def _folder(self, unit: Unit) -> Path:
        assert self._workplace is not None
        return self._workplace.folder / unit.name

    def _places(self, unit: Unit) -> Places:
        paths = image_paths(self._environments[unit.image.name], unit, self._folder(unit) / "tmp")
        return Places(paths=paths, has_server=unit.network == "run")


def refuse_model_code(plan: Plan, *, allowed: bool) -> None:
    """Raise UsageError where the plan runs code that a model wrote and its document does not ask for it."""
    scoring = [unit.name for unit in plan.units if unit.role == "scoring"]
    if scoring and not allowed:
        raise UsageError(
            "engine host would run code that the model wrote, with all rights of this user",
            where=f"execution.engine: host, {scoring[0]}",
            next_step="use docker or podman, or leave the task out; in a throw-away machine set "
            "execution.allow_code_execution: true in the document",
        )


def cautions(plan: Plan) -> list[str]:
    """Return what a person must know who runs this plan without containers."""
    limits = [unit.limits for unit in plan.units]
    unenforced = [
        "read-only mounts",
        *(["memory limits"] if any(limit.memory for limit in limits) else []),
        *(["processor limits"] if any(limit.cpus for limit in limits) else []),
        "limits on processes and on temporary files",
    ]
    return [
        "no isolation: harness and server run as ordinary processes of this user",
        f"not enforced without containers: {', '.join(unenforced)}",
    ]


def refuse_taken_port(server: Unit) -> None:
    """Raise ExecutionError where something listens on the server's port already."""
    port = _port(server)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise ExecutionError(
                f"the server cannot listen on port {port} of this machine: {error.strerror}",
                where=f"deployment.port: {port}",
                next_step="set deployment.port to a free one, or end what uses it",
            ) from error


def _port(server: Unit) -> int:
    given = dict(zip(server.argv, server.argv[1:], strict=False)).get("--port")
    return int(given) if given else _DEFAULT_PORT


def _command(environment: Environment, argv: list[str], unit: Unit) -> Iterator[str]:
    """Yield the command line: our launchers by the entrypoints' own Python, the server on loopback only."""
    program, *arguments = argv
    entrypoints = environment.folders["/opt/evaldock"] / "bin"
    if "/" not in program and (entrypoints / program).is_file():
        yield from (str(entrypoints / "python"), "-IB", str(entrypoints / program))
    else:
        yield program
    yield from arguments
    if unit.role == "server" and "--host" not in arguments:
        yield from ("--host", LOOPBACK)


def _oom_kills() -> int:
    """Return how many processes this machine's kernel has killed for memory; 0 where it does not say."""
    with contextlib.suppress(OSError, ValueError):
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
        return int(dict(line.split() for line in lines).get("oom_kill", 0))
    return 0
