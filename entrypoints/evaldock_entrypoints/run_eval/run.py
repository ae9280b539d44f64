"""One task from preflight to written results."""

import datetime
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from evaldock_entrypoints.contract.adapter import EXCHANGES, TaskSettings
from evaldock_entrypoints.contract.errors import EndpointError, EvaldockError, ExitCode, HarnessError
from evaldock_entrypoints.contract.framework import Phase
from evaldock_entrypoints.contract.secrets import key_value
from evaldock_entrypoints.exchanges.traffic import SessionTraffic, read_traffic
from evaldock_entrypoints.run_eval import preflight
from evaldock_entrypoints.run_eval.adapter import Doorway, doorway, key_values, replayed
from evaldock_entrypoints.run_eval.job import Job
from evaldock_entrypoints.run_eval.outcome import expected_samples, read_outcome
from evaldock_entrypoints.run_eval.phases import PhaseRunner
from evaldock_entrypoints.run_eval.prove import Proof, prove
from evaldock_entrypoints.run_eval.seal import Wanted, probe_seal
from evaldock_entrypoints.run_eval.state import State, open_state
from evaldock_entrypoints.run_eval.steps import Step, pending, steps_of
from evaldock_entrypoints.run_eval.write import Record, results_path, write_failure, write_results


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run, apart from what to run."""

    phases: Sequence[str] = ()  # empty: all of them, then the results
    fresh: bool = False
    allow_code_execution: bool = False
    time_limit_s: float = 86_400.0
    preflight_only: bool = False
    prove_only: bool = False  # all phases have run in containers of their own
    adapter_socket: Path | None = None  # of the run's adapter; None: start one of our own
    network: Wanted = "auto"


def run_task(
    job: Job,
    settings: TaskSettings,
    options: Options,
    *,
    environ: dict[str, str],
    echo: Callable[[str], None],
) -> ExitCode:
    """Run the task, or the named phases of it; raises EvaldockError after writing why into results.yml.

    settings: of an adapter of this task's own, and how patient its harness must be with any.
    """
    phases = [] if options.prove_only else _chosen(job, options.phases)
    executes = any(phase.executes_model_code for phase in phases)
    preflight.refuse_unready(job, allow_code_execution=options.allow_code_execution or not executes)
    asks_directly = options.adapter_socket is None and any(phase.network == "endpoint" for phase in phases)
    if asks_directly:
        preflight.refuse_unready_endpoint(job, job.endpoint, key_value(job.endpoint.api_key_name, environ))
    if options.preflight_only:
        return ExitCode.COMPLETE
    if job.scratch_dir is not None:
        return _run_sandboxed(job, settings, phases, options, echo)
    state = open_state(job, settings.auxiliary, fresh=options.fresh, now=_now())
    if not options.prove_only and _is_complete(
        job
    ):  # a file that the harness's container left proves nothing
        echo(f"{job.task.name} is complete in {job.output_dir}; --fresh starts over")
        return ExitCode.COMPLETE
    try:
        if options.prove_only:
            return _finish(job, state, echo)
        return _run_phases(job, settings, phases, state, options, environ, echo)
    except EvaldockError as error:
        caused = _with_cause(job, error)
        record = Record(started_at=state.started_at, ended_at=_now(), network=state.network)
        write_failure(job, caused, record)
        if caused is error:
            raise
        raise caused from error


def _with_cause(job: Job, error: EvaldockError) -> EvaldockError:
    """Return a harness's failure with what its requests met: a harness shows only that it gave up."""
    if not isinstance(error, HarnessError):
        return error
    try:
        traffic = read_traffic(job.output_dir / EXCHANGES)
    except OSError:
        return error
    if traffic is None or not traffic.outstanding:
        return error
    failure, count = traffic.outstanding[-1], len(traffic.outstanding)
    said = failure.message or f"{failure.error}, status {failure.status}"
    message = f"{error.message}; {count} of its requests failed for good, at last: {said}"
    if failure.error == "connect":
        step = "bring the endpoint back, then resume: what was answered is kept"
        return EndpointError(message, where=job.endpoint.base_url, next_step=step)
    return HarnessError(message, where=error.where, next_step=error.next_step)


def _run_sandboxed(
    job: Job,
    settings: TaskSettings,
    phases: Sequence[Phase],
    options: Options,
    echo: Callable[[str], None],
) -> ExitCode:
    """Run phases that may write nothing but their own folders; whoever started us judges and remembers."""
    ways = _Ways(job=job, settings=settings, options=options, environ={}, echo=echo)
    with ways.opened():
        for step in steps_of(job):
            if step.phase in phases:
                ways.run(step)
    return ExitCode.COMPLETE


def _run_phases(
    job: Job,
    settings: TaskSettings,
    phases: Sequence[Phase],
    state: State,
    options: Options,
    environ: Mapping[str, str],
    echo: Callable[[str], None],
) -> ExitCode:
    steps = pending(job, [phase.name for phase in phases], state.finished_phases)
    if steps:
        state = replace(state, network=probe_seal(options.network).as_tree())
    state.write(job.output_dir)
    ways = _Ways(job=job, settings=settings, options=options, environ=environ, echo=echo)
    with ways.opened():
        for step in steps:
            ways.run(step)
            state = replace(state, finished_phases=(*state.finished_phases, step.name))
            state.write(job.output_dir)
    if any(step.name not in state.finished_phases for step in steps_of(job)):
        return ExitCode.COMPLETE
    return _finish(job, state, echo)


@dataclass(kw_only=True)
class _Ways:
    """Runs steps, each with the way that its phase has: to the endpoint, to the stored answers, or none."""

    job: Job
    settings: TaskSettings
    options: Options
    environ: Mapping[str, str]
    echo: Callable[[str], None]
    _stack: ExitStack = field(default_factory=ExitStack)
    _doors: dict[str, Doorway] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.options.time_limit_s

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Close what was opened on the way when the block ends."""
        with self._stack:
            yield

    def run(self, step: Step) -> None:
        """Run one step to its end; raises EvaldockError."""
        door = self._door(step.phase)
        runner = PhaseRunner(
            job=replace(step.job, reached=door.reached) if door else step.job,
            secrets=key_values(self.settings, self.environ),
            deadline=self._deadline,
            echo=self.echo,
            watch=door.refuse_stopped if door else lambda: None,
        )
        try:
            runner.run(step.phase)
        except HarnessError:
            if door:
                door.settle()  # what the adapter stopped the task for goes before what the harness made of it
            raise
        if door:
            door.settle()

    def _door(self, phase: Phase) -> Doorway | None:
        if phase.network == "none":
            return None
        if phase.network not in self._doors:
            self._doors[phase.network] = self._stack.enter_context(self._opened(phase))
            if phase.network == "endpoint" and self.options.adapter_socket is not None:
                reached = self._doors[phase.network].reached[None]
                preflight.refuse_unready_endpoint(self.job, reached, None)
        return self._doors[phase.network]

    def _opened(self, phase: Phase) -> AbstractContextManager[Doorway]:
        if phase.network == "replay":
            settings = replayed(self.settings, self.job)
            return doorway(self.job, settings, socket_path=None, environ={}, replays=True)
        socket_path = self.options.adapter_socket
        return doorway(self.job, self.settings, socket_path=socket_path, environ=self.environ)


def _finish(job: Job, state: State, echo: Callable[[str], None]) -> ExitCode:
    # Whatever comes out below, the next run of the same command must ask again for what is missing.
    replace(state, finished_phases=()).write(job.output_dir)
    outcome = read_outcome(job)
    traffic = _traffic(job)
    proof = prove(outcome, expected_samples(job, outcome), traffic)
    record = Record(started_at=state.started_at, ended_at=_now(), network=state.network)
    write_results(job, outcome, proof, traffic, record)
    for line in summary_lines(job, proof):
        echo(line)
    if proof.status != "complete":
        return ExitCode.INCOMPLETE
    for step in steps_of(job):
        with suppress(RecursionError):  # of folders nested a thousand deep
            shutil.rmtree(step.job.home_dir, ignore_errors=True)  # the harness's own caches
    return ExitCode.COMPLETE


def _traffic(job: Job) -> SessionTraffic | None:
    """Return what the adapter saw; None for a harness that has no endpoint to ask."""
    if all(phase.network == "none" for phase in job.phases):
        return None
    nothing = SessionTraffic(session="", corrupt=0, lost=0, roles={})
    return read_traffic(job.output_dir / EXCHANGES, repeats=int(job.params["repeats"])) or nothing


def summary_lines(job: Job, proof: Proof) -> list[str]:
    """Return the lines that a person reads at the end."""
    counts = proof.completeness
    head = (
        f"{job.framework.name}.{job.task.name}: {proof.status}, {counts.scored} of {counts.expected} scored"
    )
    metrics = [
        f"  {task} {name} = {metric.value:.4f}"
        + (f" ± {metric.stderr:.4f}" if metric.stderr is not None else "")
        + f" (n = {metric.n})"
        for task, named in {**proof.groups, **proof.tasks}.items()
        for name, metric in named.items()
    ]
    if proof.status == "complete":
        return [head, *metrics]
    reasons = [f"  {reason}" for reason in proof.reasons]
    return [head, *reasons, "  next: the same command resumes; the partial figures stand under partial"]


def _chosen(job: Job, names: Sequence[str]) -> list[Phase]:
    return [phase for phase in job.phases if not names or phase.name in names]


def _is_complete(job: Job) -> bool:
    path = results_path(job.output_dir)
    return path.is_file() and yaml.safe_load(path.read_text(encoding="utf-8")).get("status") == "complete"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
