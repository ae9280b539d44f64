"""One `evaldock run`: document → plan → engine → results."""

import contextlib
import datetime
import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from evaldock.analysis.report import write_report
from evaldock.analysis.summary import write_summary
from evaldock.compiler import Inputs, Surroundings, compile_plan, compile_serving
from evaldock.compiler.images import Resolving, pins_for
from evaldock.document import Written
from evaldock.engines.engine import Engine
from evaldock.engines.select import engine_for
from evaldock.executors.folders import new_folders
from evaldock.executors.local import Events, LocalExecutor
from evaldock.executors.outcome import TaskEnd
from evaldock.pins import local_platform
from evaldock.plan import Plan
from evaldock.registry import Registry, load_registry
from evaldock.run_lock import lock_of
from evaldock.schema import schema_file
from evaldock.supply.lock import built_pins
from evaldock.surroundings import model_stamp, way_out
from evaldock_entrypoints.contract.document import Evaluation
from evaldock_entrypoints.contract.files import write_yaml
from evaldock_entrypoints.contract.layers import NOWHERE, Merged


def new_run_id() -> str:
    """Return an id that sorts by time and does not collide."""
    now = datetime.datetime.now(datetime.UTC)
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def make_plan(
    given: Written, *, run_id: str, registry: Registry | None = None, allow_unpinned: bool = False
) -> Plan:
    """Resolve the images and compile the document; raises UsageError or PinError."""
    return compile_plan(_inputs(given, run_id, registry or load_registry(), allow_unpinned=allow_unpinned))


def make_serving_plan(given: Written, *, run_id: str) -> Plan:
    """Return the plan that serves the document's deployment and evaluates nothing; raises as make_plan."""
    evaluation = Evaluation()
    alone = replace(given, document=given.document.model_copy(update={"evaluation": evaluation}))
    return compile_serving(_inputs(alone, run_id, load_registry(), allow_unpinned=False))


def _inputs(given: Written, run_id: str, registry: Registry, *, allow_unpinned: bool) -> Inputs:
    resolving = Resolving(
        registry=registry, built=built_pins(), platform=local_platform(), allow_unpinned=allow_unpinned
    )
    pins = pins_for(given.document, given.merged, resolving)
    around = Surroundings(
        run_id=run_id,
        run_dir=str(Path(given.document.output.dir).absolute() / run_id),
        user=f"{os.getuid()}:{os.getgid()}",
        working_dir=str(Path.cwd()),
        model_stamp=model_stamp(given.document.deployment.model_path),
        way_out=way_out(os.environ),
    )
    return Inputs(document=given.document, merged=given.merged, registry=registry, pins=pins, around=around)


def execute(
    plan: Plan, events: Events, environ: Mapping[str, str] | None = None, merged: Merged = NOWHERE
) -> list[TaskEnd]:
    """Carry out a plan that is ready, on this machine; write summary and report. Raises EvaldockError.

    environ: where keys are read from, None for this process's environment. merged: whence the plan's values.
    """
    with contextlib.ExitStack() as stack:
        with new_folders(plan, merged):  # which do not stay where no engine takes the plan
            engine = stack.enter_context(engine_for(plan, events.step))
        events.step(f"run {plan.run_id}, results in {plan.run_dir}")
        executor = LocalExecutor(
            plan=plan, engine=engine, events=events, environ=os.environ if environ is None else environ
        )
        try:
            return executor.run()
        finally:
            write_records(plan, engine, executor.gpus)


def write_records(plan: Plan, engine: Engine, gpus: Mapping[str, tuple[str, ...]]) -> None:
    """Write run.lock.yaml, summary.json and report.html."""
    run_dir = Path(plan.run_dir)
    write_yaml(
        run_dir / "run.lock.yaml",
        lock_of(plan, engine, gpus).model_dump(mode="json"),
        header="# evaldock/run-lock/v1, written by evaldock run\n",
        schema=schema_file("run-lock"),
    )
    write_summary(run_dir)
    write_report(run_dir)
