"""A plan's server: started, waited for, stopped. Runs evaluate on it; a deployment only serves."""

import contextlib
import errno
import math
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evaldock.engines.engine import Engine, Exit, Running
from evaldock.executors.interruption import Interruption
from evaldock.plan import SERVER_ALIAS, Networks, Plan, Unit, UnitNetwork
from evaldock.visible_text import one_line
from evaldock_entrypoints.contract.errors import ExecutionError, InterruptedRunError, UsageError
from evaldock_entrypoints.contract.secrets import key_value

POLL_S = 0.25
_STOP_POLL_S = 0.1
_OWN_NETWORKS: tuple[UnitNetwork, ...] = ("run", "outside")
SERVER_LOG = "server.log"
_LOG_PERIOD_S = 10.0
_SIGNAL_BASE = 128  # a container's code for a signal is this plus its number


@dataclass(kw_only=True)
class Launcher:
    """Starts a plan's units on an engine. environ is where secrets are read from."""

    plan: Plan
    engine: Engine
    step: Callable[[str], None]
    environ: Mapping[str, str] = field(repr=False)
    interrupted_step: str
    interruption: Interruption = field(default_factory=Interruption)
    deadline: float = math.inf  # of time.monotonic()
    gpus: dict[str, tuple[str, ...]] = field(default_factory=dict)  # seen inside, by unit

    def sweep(self) -> None:
        """Remove what killed runs left behind, and say so."""
        for name in self.engine.sweep():
            self.step(f"removed {name}, left behind by a run that was killed")

    @contextlib.contextmanager
    def networks(self) -> Iterator[Networks]:
        """Make the networks that the plan's units need of their own, by kind."""
        needed = {unit.network for unit in self.plan.units}
        made: dict[UnitNetwork, str] = {}
        with contextlib.ExitStack() as stack:
            for kind in _OWN_NETWORKS:
                if kind in needed:
                    made[kind] = stack.enter_context(self.engine.network(internal=kind == "run"))
            yield made

    @contextlib.contextmanager
    def started(self, unit: Unit, networks: Networks, alias: str | None = None) -> Iterator[Running]:
        """Start a unit, keep in mind the GPUs it sees, and remove it at the end; raises as `create`."""
        with self.create(unit, networks, alias) as running:
            if running.gpus:
                self.gpus[unit.name] = running.gpus
            yield running

    def create(self, unit: Unit, networks: Networks, alias: str | None = None) -> Running:
        """Create a unit, not yet started, with its secrets; raises UsageError, ExecutionError or PinError."""
        used = networks.get(unit.network)
        values = {name: key_value(name, self.environ) for name in unit.secret_names}
        secrets = {name: value for name, value in values.items() if value is not None}
        return self.engine.create(unit, user=self.plan.user, network=used, alias=alias, secrets=secrets)

    @contextlib.contextmanager
    def serving(self, networks: Networks) -> Iterator[Running]:
        """Start the server, wait until it is ready, stop it at the end; its log stays in the run's folder.

        Raises ExecutionError where it ends or does not become ready, InterruptedRunError.
        """
        assert self.plan.server is not None
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(self.started(self.plan.server.unit, networks, SERVER_ALIAS))
            stack.callback(server.save_log, self.log_path)
            stack.callback(self.let_stop, server)
            self.step("waiting for the server")
            self._wait_until_ready(server, networks)
            self.step("the server is ready: its log-probabilities of a known sentence are right")
            yield server

    @property
    def log_path(self) -> Path:
        """Where the server's log goes."""
        return Path(self.plan.run_dir) / SERVER_LOG

    def stop_if_due(self, running: Running) -> None:
        """Let a unit stop when a signal has come or the time is up; then raises InterruptedRunError."""
        if self.interruption.requested.is_set():
            why = "interrupted"
        elif time.monotonic() > self.deadline:
            why = "the time limit is reached"
        else:
            return
        word = word_for_unit(self.engine)
        self.step(f"{why}: letting the {word} stop (a second signal ends it at once)")
        self.let_stop(running)
        raise InterruptedRunError(why, where=self.plan.run_dir, next_step=self.interrupted_step)

    def refuse_dead(self, server: Running | None) -> None:
        """Raise ExecutionError where the server has ended by itself."""
        if server is None or not server.ended.is_set():
            return
        end = server.exit()
        raise ExecutionError(
            f"the server ended by itself ({how_it_ended(end, server.unit)})",
            where=f"server {word_for_unit(self.engine)}, {server.unit.image.reference}",
            next_step="its last lines:\n" + indented(end.last_lines),
        )

    def let_stop(self, running: Running) -> None:
        """Give a unit its time to stop, cut short by a second signal."""
        stopper = threading.Thread(target=running.stop, daemon=True)
        stopper.start()
        while stopper.is_alive() and not self.interruption.at_once.is_set():
            stopper.join(_STOP_POLL_S)

    def _wait_until_ready(self, server: Running, networks: Networks) -> None:
        declared = self.plan.server
        assert declared is not None
        with self.started(declared.probe, networks) as probe:
            while not probe.ended.wait(POLL_S):
                self.refuse_dead(server)
                self.stop_if_due(probe)
            self.refuse_dead(server)
            end = probe.exit()
        if end.code != 0:
            raise ExecutionError(
                f"the server did not become ready within {declared.readiness_timeout_s:.0f} s",
                where=indented(end.last_lines),
                next_step="the server's last lines:\n" + indented(server.last_lines()),
            )


def serve_until_told(launcher: Launcher, ready: Callable[[], None]) -> None:
    """Serve the plan's deployment until a signal comes; `ready` is called once it answers.

    Raises ExecutionError where the server fails, InterruptedRunError for a signal before it is ready.
    """
    launcher.log_path.parent.mkdir(parents=True, exist_ok=True)
    launcher.sweep()
    with (
        launcher.interruption.listening(),
        launcher.networks() as networks,
        launcher.serving(networks) as server,
    ):
        ready()
        saved_at = 0.0
        while not launcher.interruption.requested.wait(POLL_S):
            launcher.refuse_dead(server)
            if time.monotonic() - saved_at > _LOG_PERIOD_S:
                server.save_log(launcher.log_path)
                saved_at = time.monotonic()
        launcher.step("stopping the server")


def refuse_used_port(plan: Plan) -> None:
    """Raise UsageError where somebody listens already on the port of this machine that the plan publishes."""
    port = plan.server.unit.published_port if plan.server else None
    if port is None:
        return
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UsageError(
                    f"port {port} of this machine is in use",
                    where=f"deployment.port: {port}",
                    next_step=f"choose another: -o deployment.port={port + 1}",
                ) from error


def word_for_unit(engine: Engine) -> str:
    """Return what a unit is on this engine."""
    return "container" if engine.isolates else "process"


def how_it_ended(end: Exit, unit: Unit) -> str:
    """Return what a unit died of."""
    if end.out_of_memory:
        return "ran out of memory" + (f" (limit {unit.limits.memory})" if unit.limits.memory else "")
    if end.code > _SIGNAL_BASE:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(end.code - _SIGNAL_BASE).name}"
    return f"exited with status {end.code}"


def indented(lines: tuple[str, ...]) -> str:
    """Return a unit's lines as they stand in an error."""
    return "\n".join(f"    {one_line(line)}" for line in lines)
