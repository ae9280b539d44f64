"""Carries a plan out on this machine: network, server, readiness, tasks one after another."""

import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from evaldock.engines.engine import Engine, Exit, Running
from evaldock.executors.outcome import TaskEnd, read_end, read_results, write_failure
from evaldock.plan import SERVER_ALIAS, Evaluation, Plan, Server, Unit
from evaldock.schema import schema_file
from evaldock.visible_text import one_line
from evaldock_entrypoints.contract.errors import (
    EvaldockError,
    ExecutionError,
    ExitCode,
    InterruptedRunError,
    UsageError,
)
from evaldock_entrypoints.contract.files import write_yaml
from evaldock_entrypoints.probe import key_value

_POLL_S = 0.25
_HIGHEST_CODE = max(ExitCode)
_SIGNAL_BASE = 128  # a container's code for a signal is this plus its number


class Events(Protocol):
    """What happens during a run, for whoever shows it."""

    def step(self, text: str) -> None: ...
    def progress(self, evaluation: Evaluation, folder: Path) -> None: ...
    def ended(self, evaluation: Evaluation, end: TaskEnd) -> None: ...


@dataclass(kw_only=True)
class Interruption:
    """SIGINT or SIGTERM: the first one drains, the second one ends at once."""

    requested: threading.Event = field(default_factory=threading.Event)
    at_once: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, *_: object) -> None:
        (self.at_once if self.requested.is_set() else self.requested).set()


@dataclass(kw_only=True)
class LocalExecutor:
    """Runs one plan on one engine. environ is where secrets are read from."""

    plan: Plan
    engine: Engine
    events: Events
    environ: Mapping[str, str]
    interruption: Interruption = field(default_factory=Interruption)

    def run(self) -> list[TaskEnd]:
        """Return how each task ended; raises ExecutionError when the server fails, InterruptedRunError."""
        for name in self.engine.sweep():
            self.events.step(f"removed {name}, left behind by a run that was killed")
        self._prepare_folders()
        if not any(self._is_pending(evaluation) for evaluation in self.plan.evaluations):
            return [self._evaluate(evaluation, None, None) for evaluation in self.plan.evaluations]
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.interruption.listening())
            network = self._network(stack)
            server = self._start_server(stack, network) if self.plan.server else None
            return [self._evaluate(evaluation, network, server) for evaluation in self.plan.evaluations]

    def _prepare_folders(self) -> None:
        root = Path(self.plan.run_dir)
        try:
            for evaluation in self.plan.evaluations:
                (root / evaluation.folder).mkdir(parents=True, exist_ok=True)
            for mount in (mount for unit in self.plan.units for mount in unit.mounts):
                if not mount.read_only:
                    Path(mount.source).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"cannot create {root}: {error.strerror}",
                where="output.dir",
                next_step="name a writable folder",
            ) from error
        write_yaml(root / "run.yaml", dict(self.plan.document), schema=schema_file("document"))

    def _network(self, stack: contextlib.ExitStack) -> str | None:
        kinds = {unit.network for unit in self.plan.units}
        if "run" in kinds:
            return stack.enter_context(self.engine.network(internal=True))
        return stack.enter_context(self.engine.network(internal=False)) if "outside" in kinds else None

    def _start_server(self, stack: contextlib.ExitStack, network: str | None) -> Running:
        assert self.plan.server is not None
        server = stack.enter_context(self._create(self.plan.server.unit, network, SERVER_ALIAS))
        stack.callback(server.save_log, Path(self.plan.run_dir) / "server.log")
        stack.callback(server.stop)
        self.events.step("waiting for the server")
        self._wait_for_server(self.plan.server, server, network)
        self.events.step("the server is ready: its log-probabilities of a known sentence are right")
        return server

    def _wait_for_server(self, declared: Server, server: Running, network: str | None) -> None:
        with self._create(declared.probe, network) as probe:
            while not probe.ended.wait(_POLL_S):
                self._refuse_dead_server(server)
                self._stop_if_interrupted(probe)
            self._refuse_dead_server(server)
            end = probe.exit()
        if end.code != 0:
            raise ExecutionError(
                f"the server did not become ready within {declared.readiness_timeout_s:.0f} s",
                where=_indented(end.last_lines),
                next_step="the server's last lines:\n" + _indented(server.last_lines()),
            )

    def _refuse_dead_server(self, server: Running | None) -> None:
        if server is None or not server.ended.is_set():
            return
        end = server.exit()
        raise ExecutionError(
            f"the server ended by itself ({_how(end, server.unit)})",
            where=f"server container, image {server.unit.image.reference}",
            next_step="its last lines:\n" + _indented(end.last_lines),
        )

    def _evaluate(self, evaluation: Evaluation, network: str | None, server: Running | None) -> TaskEnd:
        folder = Path(self.plan.run_dir) / evaluation.folder
        if not self._is_pending(evaluation):
            self.events.step(f"{evaluation.folder} is complete already")
            return read_end(folder, evaluation, ExitCode.COMPLETE)
        (folder / "results.yml").unlink(missing_ok=True)  # an earlier attempt's word is not this one's
        self.events.step(f"running {evaluation.folder}")
        end = self._run_units(evaluation, folder, network, server)
        self.events.ended(evaluation, end)
        return end

    def _is_pending(self, evaluation: Evaluation) -> bool:
        return read_results(Path(self.plan.run_dir) / evaluation.folder).get("status") != "complete"

    def _run_units(
        self, evaluation: Evaluation, folder: Path, network: str | None, server: Running | None
    ) -> TaskEnd:
        for unit in evaluation.units:
            try:
                end = self._run_unit(unit, evaluation, folder, network, server)
            except InterruptedRunError:
                raise
            except EvaldockError as error:
                write_failure(folder, evaluation, error)
                if server is not None and server.ended.is_set():
                    raise
                return read_end(folder, evaluation, error.exit_code)
            if end.code != 0:
                return self._failed(unit, evaluation, folder, end)
        return read_end(folder, evaluation, ExitCode.COMPLETE)

    def _run_unit(
        self, unit: Unit, evaluation: Evaluation, folder: Path, network: str | None, server: Running | None
    ) -> Exit:
        used = None if unit.network in ("none", "host") else network
        with self._create(unit, used) as running:
            try:
                while not running.ended.wait(_POLL_S):
                    self.events.progress(evaluation, folder)
                    self._refuse_dead_server(server)
                    self._stop_if_interrupted(running)
                return running.exit()
            finally:
                (folder / "logs").mkdir(exist_ok=True)
                running.save_log(folder / "logs" / f"container-{unit.name}.log")

    def _failed(self, unit: Unit, evaluation: Evaluation, folder: Path, end: Exit) -> TaskEnd:
        """Name the failure: run_eval's own word where it left one, else what the engine saw."""
        if read_results(folder) and not end.out_of_memory and end.code <= _HIGHEST_CODE:
            return read_end(folder, evaluation, ExitCode(end.code))
        error = _last_words(end) or ExecutionError(
            f"the {unit.role} container {_how(end, unit)}",
            where=f"{evaluation.folder}, container {unit.name}",
            next_step="its last lines:\n" + _indented(end.last_lines),
        )
        write_failure(folder, evaluation, error)
        return read_end(folder, evaluation, error.exit_code)

    def _create(self, unit: Unit, network: str | None, alias: str | None = None) -> Running:
        values = {name: key_value(name, self.environ) for name in unit.secret_names}
        secrets = {name: value for name, value in values.items() if value is not None}
        return self.engine.create(unit, user=self.plan.user, network=network, alias=alias, secrets=secrets)

    def _stop_if_interrupted(self, running: Running) -> None:
        if not self.interruption.requested.is_set():
            return
        self.events.step("interrupted: letting the container stop (a second signal ends it at once)")
        stopper = threading.Thread(target=running.stop, daemon=True)
        stopper.start()
        while not running.ended.wait(0.1) and not self.interruption.at_once.is_set():
            pass
        raise InterruptedRunError(
            "interrupted", where=self.plan.run_dir, next_step=f"evaldock resume {self.plan.run_id}"
        )


def _last_words(end: Exit) -> EvaldockError | None:
    """Return the error that run_eval printed before it ended with one of the contract's codes."""
    prefix = "run_eval: error: "
    starts = [index for index, line in enumerate(end.last_lines) if line.startswith(prefix)]
    if not starts or end.code not in set(ExitCode):
        return None
    first, *rest = end.last_lines[starts[-1] :]
    error = EvaldockError(one_line(first.removeprefix(prefix)))
    error.exit_code = ExitCode(end.code)
    for line in rest:
        if line.startswith("  next: "):
            error.next_step = one_line(line.removeprefix("  next: "))
        elif error.where is None:
            error.where = one_line(line.strip())
    return error


def _how(end: Exit, unit: Unit) -> str:
    if end.out_of_memory:
        return "ran out of memory" + (f" (limit {unit.limits.memory})" if unit.limits.memory else "")
    if end.code > _SIGNAL_BASE:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(end.code - _SIGNAL_BASE).name}"
    return f"exited with status {end.code}"


def _indented(lines: tuple[str, ...]) -> str:
    return "\n".join(f"    {one_line(line)}" for line in lines)
