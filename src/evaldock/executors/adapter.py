"""A run's adapter: started before the tasks, watched while they run, stopped after them to flush."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from evaldock.engines.engine import Running
from evaldock.executors.serving import POLL_S, Launcher, how_it_ended, indented, word_for_unit
from evaldock.plan import ADAPTER_FOLDER, SETTINGS_NAME, Adapter, Evaluation, Networks
from evaldock.untrusted_files import UnreadableFileError, read_json
from evaldock.visible_text import one_line
from evaldock_entrypoints.contract.adapter import (
    SOCKET_NAME,
    STATUS_NAME,
    AdapterSettings,
    Served,
    socket_folder,
)
from evaldock_entrypoints.contract.built_in_interceptors import CACHING
from evaldock_entrypoints.contract.errors import EvaldockError, ExecutionError, ExitCode, UsageError
from evaldock_entrypoints.contract.files import write_json

ADAPTER_LOG = "adapter.log"
START_TIMEOUT_S = 30.0
_SETTLING_S = 1.2  # the status is written twice a second: what ended a harness may stand there a little later
_SETTLING_POLL_S = 0.05


class _Told(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Fault(_Told):
    """Why the adapter asks no more: for a task, or at all."""

    exit_code: int
    message: str
    where: str | None = None
    next: str | None = None

    def as_error(self) -> EvaldockError:
        error = EvaldockError(
            one_line(self.message),
            where=one_line(self.where) if self.where else None,
            next_step=one_line(self.next) if self.next else None,
        )
        known = self.exit_code in set(ExitCode) - {ExitCode.COMPLETE}
        error.exit_code = ExitCode(self.exit_code) if known else ExitCode.EXECUTION
        return error


class Counts(_Told):
    """What became of a task's requests so far."""

    requests: int = 0
    answered: int = 0
    cached: int = 0
    failed: int = 0
    retried: int = 0
    in_flight: int = 0
    stopped: Fault | None = None


class Status(_Told):
    """What the adapter says of itself."""

    ready: bool = False
    waiting: bool = False
    fatal: Fault | None = None
    tasks: dict[str, Counts] = {}


@dataclass(kw_only=True)
class AdapterWatch:
    """A running adapter, by what it says and whether it is there."""

    running: Running
    status_path: Path
    step: Callable[[str], None]
    word: str  # for a unit of this engine
    resume_step: str
    _status: Status = field(default_factory=Status)

    def status(self) -> Status:
        """Return what it said last, and say when it begins or ceases to wait for the endpoint."""
        was_waiting = self._status.waiting
        with contextlib.suppress(UnreadableFileError, ValidationError):
            self._status = Status.model_validate(read_json(self.status_path))
        if self._status.waiting != was_waiting:
            self.step("waiting for endpoint" if self._status.waiting else "the endpoint answers")
        return self._status

    def counts(self, evaluation: Evaluation) -> Counts | None:
        """Return what became of the task's requests, None before the first one."""
        return self._status.tasks.get(evaluation.folder)

    def is_over(self) -> bool:
        """Tell whether no task can be evaluated through it any more."""
        return self.running.ended.is_set() or self._status.fatal is not None

    def fault(self, evaluation: Evaluation) -> EvaldockError | None:
        """Return why the task cannot go on, None where it can."""
        status = self.status()
        if status.fatal is not None:
            return status.fatal.as_error()
        if self.running.ended.is_set():
            return self._ended()
        counts = status.tasks.get(evaluation.folder)
        return counts.stopped.as_error() if counts is not None and counts.stopped is not None else None

    def settled_fault(self, evaluation: Evaluation) -> EvaldockError | None:
        """Return the fault that may have ended a task's unit just now: its word may still be on the way."""
        deadline_s = time.monotonic() + _SETTLING_S
        while (error := self.fault(evaluation)) is None and time.monotonic() < deadline_s:
            time.sleep(_SETTLING_POLL_S)
        return error

    def wait_until_ready(self, stop_if_due: Callable[[Running], None]) -> None:
        """Wait until it listens; raises ExecutionError where it does not, and what stop_if_due does."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self.status().ready:
            if self.running.ended.wait(POLL_S):
                raise self._ended()
            stop_if_due(self.running)
            if time.monotonic() > deadline_s:
                raise ExecutionError(
                    f"the adapter did not become ready within {START_TIMEOUT_S:.0f} s",
                    where=f"adapter {self.word}, {self.running.unit.image.reference}",
                    next_step="its last lines:\n" + indented(self.running.last_lines()),
                )

    def _ended(self) -> EvaldockError:
        end = self.running.exit()
        if end.code == ExitCode.USAGE:  # it looks at its settings before anything else
            return UsageError(
                "the adapter refuses its settings",
                where="target.api_endpoint.adapter_config",
                next_step="what it says:\n" + indented(end.last_lines),
            )
        lines = f"; its last lines:\n{indented(end.last_lines)}" if end.last_lines else ""
        return ExecutionError(
            f"the adapter ended by itself ({how_it_ended(end, self.running.unit)})",
            where=f"adapter {self.word}, {self.running.unit.image.reference}",
            next_step=f"{self.resume_step} (what was answered is kept){lines}",
        )


@contextlib.contextmanager
def adapting(launcher: Launcher, networks: Networks) -> Iterator[AdapterWatch | None]:
    """Start the plan's adapter, wait until it listens, let it flush at the end; None where there is none.

    Its log stays in the run's folder. Raises ExecutionError where it ends or does not become ready.
    """
    declared = launcher.plan.adapter
    if declared is None:
        yield None
        return
    folder = _prepared_folder(launcher, declared)
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(launcher.started(declared.unit, networks))
        stack.callback(running.save_log, folder.parent / ADAPTER_LOG)
        stack.callback(launcher.let_stop, running)
        watch = AdapterWatch(
            running=running,
            status_path=folder / STATUS_NAME,
            step=launcher.step,
            word=word_for_unit(launcher.engine),
            resume_step=launcher.interrupted_step,
        )
        watch.wait_until_ready(launcher.stop_if_due)
        yield watch


def _prepared_folder(launcher: Launcher, adapter: Adapter) -> Path:
    """Write the settings, and take away what an adapter of an earlier attempt said."""
    folder = Path(launcher.plan.run_dir) / ADAPTER_FOLDER
    (folder / STATUS_NAME).unlink(missing_ok=True)
    for task in adapter.settings.tasks:
        (folder / socket_folder(task) / SOCKET_NAME).unlink(missing_ok=True)
    settings = spelt_settings(adapter.settings, lambda text: launcher.engine.spelt(adapter.unit, text))
    write_json(folder / SETTINGS_NAME, settings.model_dump(mode="json"))
    return folder


def spelt_settings(settings: AdapterSettings, spelt: Callable[[str], str]) -> AdapterSettings:
    """Return the settings with every path and address as the adapter's processes spell it."""
    tasks = {
        name: task.model_copy(
            update={
                "target": _spelt_model(task.target, spelt),
                "auxiliary": {role: _spelt_model(model, spelt) for role, model in task.auxiliary.items()},
                "folder": spelt(task.folder),
                "modules": [spelt(folder) for folder in task.modules],
            }
        )
        for name, task in settings.tasks.items()
    }
    return settings.model_copy(update={"tasks": tasks, "folder": spelt(settings.folder)})


def _spelt_model(model: Served, spelt: Callable[[str], str]) -> Served:
    chain = [
        step.model_copy(update={"config": {**step.config, "shared": spelt(step.config["shared"])}})
        if step.name == CACHING and step.config.get("shared")
        else step
        for step in model.interceptors
    ]
    return model.model_copy(
        update={"base_urls": [spelt(url) for url in model.base_urls], "interceptors": chain}
    )
