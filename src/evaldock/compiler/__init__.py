"""Compiles a document into a Plan. Pure: no engine, no clock, no network."""

from collections.abc import Sequence
from dataclasses import replace

from evaldock.compiler.adapter import adapter_notes, adapter_of, adapter_stops
from evaldock.compiler.asked import asked_task, data_notes
from evaldock.compiler.inputs import Inputs, Surroundings, WayOut
from evaldock.compiler.server import server_of
from evaldock.compiler.tasks import evaluation_of
from evaldock.compiler.unbuilt import refuse_contradictions, unbuilt_parts
from evaldock.plan import Evaluation, Executor, Plan, Server
from evaldock_entrypoints.contract.errors import UsageError

__all__ = ["Inputs", "Surroundings", "WayOut", "compile_plan", "compile_serving"]


def compile_plan(inputs: Inputs) -> Plan:
    """Return the plan of a document; raises UsageError for what the document gets wrong.

    What this version cannot carry out is planned all the same and listed in the plan.
    """
    refuse_contradictions(inputs)
    inputs.base_url()
    if not inputs.document.evaluation.tasks:
        raise UsageError(
            "no task to evaluate",
            where=inputs.place("evaluation", "tasks"),
            next_step='add evaluation: {tasks: ["gsm8k"]}; `evaldock ls tasks` lists them',
        )
    tasks = [asked_task(inputs, index) for index in range(len(inputs.document.evaluation.tasks))]
    _refuse_twins(inputs, [task.name for task in tasks])
    server = server_of(inputs, probe_image=tasks[0].framework.name)
    frame = _frame(inputs, server)
    evaluations = tuple(evaluation_of(inputs, task) for task in tasks)
    adapter = adapter_of(inputs, tasks)
    return replace(
        frame,
        sealed=_is_sealed(inputs, evaluations),
        adapter=adapter,
        evaluations=evaluations,
        notes=(*adapter_notes(inputs), *data_notes(inputs)),
        stops=(
            *frame.stops,
            *adapter_stops(inputs, adapter),
            *(stop for task in tasks for stop in task.stops),
        ),
    )


def compile_serving(inputs: Inputs) -> Plan:
    """Return the plan that serves the deployment, on a port of this machine, and evaluates nothing."""
    refuse_contradictions(inputs)
    deployment = inputs.document.deployment
    if not inputs.deploys:
        raise UsageError(
            "nothing to deploy",
            where=inputs.place("deployment", "type"),
            next_step="add deployment: {type: …, model_path: …}",
        )
    server = server_of(inputs, probe_image=deployment.type)
    assert server is not None
    here = f"http://127.0.0.1:{deployment.port}/v1"
    argv = tuple(here if part == inputs.base_url() else part for part in server.probe.argv)
    reachable = Server(
        unit=replace(server.unit, network="outside", published_port=deployment.port),
        probe=replace(server.probe, network="host", argv=argv),
        readiness_timeout_s=server.readiness_timeout_s,
    )
    return _frame(inputs, reachable)


def _is_sealed(inputs: Inputs, evaluations: Sequence[Evaluation]) -> bool:
    networks = {unit.network for evaluation in evaluations for unit in evaluation.units}
    return networks == {"none"} and inputs.document.execution.engine != "host"


def _frame(inputs: Inputs, server: Server | None) -> Plan:
    execution = inputs.document.execution
    written = execution.model_dump(mode="json", exclude_unset=True)
    return Plan(
        run_id=inputs.around.run_id,
        run_dir=inputs.around.run_dir,
        user=inputs.around.user,
        executor=Executor(type=execution.type, settings=written),
        engine=execution.engine,
        sealed=False,
        unsafe_code=inputs.is_written("execution", "allow_code_execution") and execution.allow_code_execution,
        time_limit_s=execution.time_limit_s(),
        server=server,
        adapter=None,
        evaluations=(),
        stops=unbuilt_parts(inputs),
        document=inputs.merged.tree,
    )


def _refuse_twins(inputs: Inputs, names: list[str]) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise UsageError(
                f'the task "{name}" stands twice',
                where=inputs.place("evaluation", "tasks", index),
                next_step="keep one; a second set-up of a task is a second run",
            )
