"""One task from preflight to written results."""

import datetime
import importlib.util
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import yaml

from evaldock_entrypoints.contract.adapter import EXCHANGES, TaskSettings
from evaldock_entrypoints.contract.errors import EndpointError, EvaldockError, ExitCode, HarnessError
from evaldock_entrypoints.contract.framework import Phase
from evaldock_entrypoints.contract.results import Outcome
from evaldock_entrypoints.contract.secrets import key_value
from evaldock_entrypoints.exchanges.traffic import SessionTraffic, read_traffic
from evaldock_entrypoints.run_eval import preflight
from evaldock_entrypoints.run_eval.adapter import Doorway, doorway, key_values
from evaldock_entrypoints.run_eval.job import Job, limited
from evaldock_entrypoints.run_eval.phases import PhaseRunner, home_dir
from evaldock_entrypoints.run_eval.prove import Proof, prove
from evaldock_entrypoints.run_eval.seal import Wanted, probe_seal
from evaldock_entrypoints.run_eval.state import State, open_state
from evaldock_entrypoints.run_eval.template import HARNESS_GUIDE
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
        return _run_sandboxed(job, phases, options, echo)
    state = open_state(job, settings.auxiliary, fresh=options.fresh, now=_now())
    if _is_complete(job):
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
    job: Job, phases: Sequence[Phase], options: Options, echo: Callable[[str], None]
) -> ExitCode:
    """Run phases that may write nothing but their own folders; whoever started us judges and remembers."""
    runner = PhaseRunner(job=job, secrets=(), deadline=time.monotonic() + options.time_limit_s, echo=echo)
    for phase in phases:
        runner.run(phase)
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
    deadline = time.monotonic() + options.time_limit_s
    pending = _pending(job, phases, state)
    if pending:
        state = replace(state, network=probe_seal(options.network).as_tree())
    state.write(job.output_dir)
    with ExitStack() as stack:
        door: Doorway | None = None
        for phase in pending:
            if phase.network == "endpoint" and door is None:
                opened = doorway(job, settings, socket_path=options.adapter_socket, environ=environ)
                door = stack.enter_context(opened)
                if options.adapter_socket is not None:
                    preflight.refuse_unready_endpoint(job, door.endpoint, None)
            _run_phase(job, settings, door, phase, deadline, environ, echo)
            state = replace(state, finished_phases=(*state.finished_phases, phase.name))
            state.write(job.output_dir)
    if any(phase.name not in state.finished_phases for phase in job.framework.phases):
        return ExitCode.COMPLETE
    return _finish(job, state, echo)


def _pending(job: Job, chosen: Sequence[Phase], state: State) -> list[Phase]:
    """Return the chosen phases that must run.

    What asks the endpoint is proven by the adapter's last session: while one such phase is left, those that
    ran in an earlier session run again, from the store, and so does what rests on them.
    """
    names = [phase.name for phase in job.framework.phases]
    asking = [phase.name for phase in job.framework.phases if phase.network == "endpoint"]
    is_asked = set(asking) <= set(state.finished_phases)
    kept = names if is_asked else names[: names.index(asking[0])]
    done = set(state.finished_phases) & set(kept)
    return [phase for phase in chosen if phase.name not in done]


def _run_phase(
    job: Job,
    settings: TaskSettings,
    door: Doorway | None,
    phase: Phase,
    deadline: float,
    environ: Mapping[str, str],
    echo: Callable[[str], None],
) -> None:
    reached = replace(job, reached=door.endpoint) if door else job
    runner = PhaseRunner(
        job=reached,
        secrets=key_values(settings, environ),
        deadline=deadline,
        echo=echo,
        watch=door.refuse_stopped if door else lambda: None,
    )
    try:
        runner.run(phase)
    except HarnessError:
        if door:
            door.settle()  # what the adapter stopped the task for goes before what the harness made of it
        raise
    if door:
        door.settle()


def _finish(job: Job, state: State, echo: Callable[[str], None]) -> ExitCode:
    # Whatever comes out below, the next run of the same command must ask again for what is missing.
    replace(state, finished_phases=()).write(job.output_dir)
    outcome = parse(job)
    traffic = _traffic(job)
    proof = prove(outcome, _expected(job, outcome), traffic)
    record = Record(started_at=state.started_at, ended_at=_now(), network=state.network)
    write_results(job, outcome, proof, traffic, record)
    for line in summary_lines(job, proof):
        echo(line)
    if proof.status != "complete":
        return ExitCode.INCOMPLETE
    shutil.rmtree(home_dir(job), ignore_errors=True)  # the harness's own caches
    return ExitCode.COMPLETE


def parse(job: Job) -> Outcome:
    """Read the native output with the harness folder's results.py; raises HarnessError whatever it raises."""
    try:
        outcome = _load_results_module(job).parse(job)
    except EvaldockError:
        raise
    except Exception as error:
        raise HarnessError(
            f"the output of {job.framework.name} cannot be read: {type(error).__name__}: {error}",
            where=str(job.native_dir),
            next_step="the raw output is kept in native/ and logs/",
        ) from error
    if not isinstance(outcome, Outcome):
        raise HarnessError(
            f"results.py of {job.framework.name} returned no Outcome",
            where=str(job.harness_dir / "results.py"),
            next_step=HARNESS_GUIDE,
        )
    return outcome


def _load_results_module(job: Job) -> ModuleType:
    path = job.harness_dir / "results.py"
    spec = importlib.util.spec_from_file_location("evaldock_harness_results", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise HarnessError("the harness folder has no results.py", where=str(path), next_step=HARNESS_GUIDE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _traffic(job: Job) -> SessionTraffic | None:
    """Return what the adapter saw; None for a harness that has no endpoint to ask."""
    if all(phase.network == "none" for phase in job.framework.phases):
        return None
    nothing = SessionTraffic(session="", corrupt=0, lost=0, roles={})
    return read_traffic(job.output_dir / EXCHANGES, repeats=int(job.params["repeats"])) or nothing


def _expected(job: Job, outcome: Outcome) -> int:
    """Return how many samples prove the run: from the data manifest, else from the harness's own count."""
    items = job.expected_items()
    if items is None:
        if not outcome.totals:
            raise HarnessError(
                "neither the image nor the harness says how many items the task has",
                where=f"{job.framework.name}.{job.task.name}",
                next_step=HARNESS_GUIDE,
            )
        items = sum(limited(total, job.params["limit_samples"]) for total in outcome.totals)
    return items * int(job.params["repeats"])


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
    return [phase for phase in job.framework.phases if not names or phase.name in names]


def _is_complete(job: Job) -> bool:
    path = results_path(job.output_dir)
    return path.is_file() and yaml.safe_load(path.read_text(encoding="utf-8")).get("status") == "complete"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
