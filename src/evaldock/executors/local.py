"""Carries a plan out on this machine: network, server, readiness, tasks one after another."""

import contextlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from evaldock.engines.engine import Engine, Exit, Running
from evaldock.executors.adapter import AdapterWatch, Counts, adapting
from evaldock.executors.folders import refuse_links
from evaldock.executors.interruption import Interruption
from evaldock.executors.outcome import TaskEnd, read_end, read_results, write_failure
from evaldock.executors.serving import POLL_S, Launcher, how_it_ended, indented, word_for_unit
from evaldock.plan import Evaluation, Networks, Plan, Unit
from evaldock.untrusted_folders import LedAstrayError, folder_below, take_away
from evaldock.visible_text import one_line
from evaldock_entrypoints.contract.errors import (
    EvaldockError,
    ExecutionError,
    ExitCode,
    InterruptedRunError,
)

_UNFINISHED = ("incomplete", "failed", "interrupted")
_QUICK_STOP_S = 2
STOP_ITSELF_S = 60.0  # a task whose own time is up ends its harness and writes why: that goes first


class Events(Protocol):
    """What happens during a run, for whoever shows it."""

    def step(self, text: str) -> None: ...
    def progress(self, evaluation: Evaluation, folder: Path, counts: Counts | None) -> None: ...
    def ended(self, evaluation: Evaluation, end: TaskEnd) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What stands around a task while it is evaluated."""

    networks: Networks
    server: Running | None
    adapter: AdapterWatch | None

    def is_over(self) -> bool:
        """Tell whether no further task can be evaluated."""
        if self.server is not None and self.server.ended.is_set():
            return True
        return self.adapter is not None and self.adapter.is_over()


_EMPTY_STAGE = Stage(networks={}, server=None, adapter=None)


@dataclass(kw_only=True)
class LocalExecutor:
    """Runs one plan on one engine. environ is where secrets are read from."""

    plan: Plan
    engine: Engine
    events: Events
    environ: Mapping[str, str] = field(repr=False)
    interruption: Interruption = field(default_factory=Interruption)

    @cached_property
    def _launcher(self) -> Launcher:
        return Launcher(
            plan=self.plan,
            engine=self.engine,
            step=self.events.step,
            environ=self.environ,
            interrupted_step=f"evaldock resume {self.plan.run_id}",
            interruption=self.interruption,
            deadline=self._deadline(),
        )

    def _deadline(self) -> float:
        limit_s = self.plan.time_limit_s
        return math.inf if limit_s is None else time.monotonic() + limit_s + STOP_ITSELF_S

    @property
    def gpus(self) -> Mapping[str, tuple[str, ...]]:
        """The GPUs that units have seen, by the unit's name."""
        return self._launcher.gpus

    def run(self) -> list[TaskEnd]:
        """Return how each task ended.

        Raises ExecutionError when the server or the adapter fails, EndpointError when the endpoint refuses
        the key, InterruptedRunError.
        """
        self._launcher.sweep()
        if not any(self._is_pending(evaluation) for evaluation in self.plan.evaluations):
            return [self._evaluate(evaluation, _EMPTY_STAGE) for evaluation in self.plan.evaluations]
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.interruption.listening())
            networks = stack.enter_context(self._launcher.networks())
            server = stack.enter_context(self._launcher.serving(networks)) if self.plan.server else None
            adapter = stack.enter_context(adapting(self._launcher, networks))
            stage = Stage(networks=networks, server=server, adapter=adapter)
            return [self._evaluate(evaluation, stage) for evaluation in self.plan.evaluations]

    def _evaluate(self, evaluation: Evaluation, stage: Stage) -> TaskEnd:
        folder = Path(self.plan.run_dir) / evaluation.folder
        if not self._is_pending(evaluation):
            self.events.step(f"{evaluation.folder} is complete already")
            return read_end(folder, evaluation, ExitCode.COMPLETE)
        take_away(folder / "results.yml")  # an earlier attempt's word is not this one's
        self.events.step(f"running {evaluation.folder}")
        end = self._run_units(evaluation, folder, stage)
        self.events.ended(evaluation, end)
        return end

    def _is_pending(self, evaluation: Evaluation) -> bool:
        return read_results(Path(self.plan.run_dir) / evaluation.folder).get("status") != "complete"

    def _run_units(self, evaluation: Evaluation, folder: Path, stage: Stage) -> TaskEnd:
        for unit in evaluation.units:
            try:
                end = self._run_unit(unit, evaluation, folder, stage)
            except InterruptedRunError:
                raise
            except EvaldockError as error:
                write_failure(folder, evaluation, error)
                if stage.is_over():
                    raise
                return read_end(folder, evaluation, error.exit_code)
            if end.code != 0:
                return self._failed(unit, evaluation, folder, end)
        return read_end(folder, evaluation, ExitCode.COMPLETE)

    def _run_unit(self, unit: Unit, evaluation: Evaluation, folder: Path, stage: Stage) -> Exit:
        refuse_links(unit, folder)
        with self._launcher.started(unit, stage.networks) as running:
            try:
                while not running.ended.wait(POLL_S):
                    self._refuse_faults(evaluation, stage, running)
                    counts = stage.adapter.counts(evaluation) if stage.adapter else None
                    self.events.progress(evaluation, folder, counts)
                    self._launcher.stop_if_due(running)
                end = running.exit()
                if end.code != 0 and stage.adapter and (fault := stage.adapter.settled_fault(evaluation)):
                    raise fault
                return end
            finally:
                with contextlib.suppress(LedAstrayError, OSError), folder_below(folder, "logs") as logs:
                    running.save_log(logs / f"container-{unit.name}.log")

    def _refuse_faults(self, evaluation: Evaluation, stage: Stage, running: Running) -> None:
        """Raise what server or adapter failed by; the unit gets a moment to write what it has."""
        self._launcher.refuse_dead(stage.server)
        if stage.adapter is not None and (fault := stage.adapter.fault(evaluation)) is not None:
            running.stop(grace_s=_QUICK_STOP_S)
            raise fault

    def _failed(self, unit: Unit, evaluation: Evaluation, folder: Path, end: Exit) -> TaskEnd:
        """Name the failure: run_eval's own word where it left one, else what the engine saw."""
        told = read_results(folder).get("status") in _UNFINISHED  # what failed has not completed
        if told and not end.out_of_memory and end.code in set(ExitCode):
            return read_end(folder, evaluation, ExitCode(end.code))
        word = word_for_unit(self.engine)
        error = _last_words(end) or ExecutionError(
            f"the {unit.role} {word} {how_it_ended(end, unit)}",
            where=f"{evaluation.folder}, {word} {unit.name}",
            next_step="its last lines:\n" + indented(end.last_lines),
        )
        write_failure(folder, evaluation, error)
        return read_end(folder, evaluation, error.exit_code)


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
