"""Compiles a document into a Plan. Pure: no engine, no clock, no network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from evaldock.plan import (
    SCORING_LIMITS,
    SERVER_ALIAS,
    Evaluation,
    Limits,
    Mount,
    Plan,
    Server,
    Unit,
    UnitNetwork,
)
from evaldock.registry import ImagePin, Registry
from evaldock_entrypoints.contract.document import Deployment, Document, TaskRequest
from evaldock_entrypoints.contract.endpoint import base_url, is_local, route_url
from evaldock_entrypoints.contract.errors import NotBuiltError, UsageError
from evaldock_entrypoints.contract.framework import EndpointType, Framework, Phase
from evaldock_entrypoints.contract.tasks import endpoint_type_of, merge_extras, merge_params

RESULTS_TARGET = "/results"
DOCUMENT_TARGET = "/evaldock/run.yaml"
SCRATCH_DIR = "/tmp/evaldock"  # a tmpfs of the container's own


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a plan needs to know of the machine."""

    run_id: str
    run_dir: str
    user: str
    working_dir: str  # relative paths of the document are relative to this


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """One task with all that its containers are told."""

    framework: Framework
    name: str
    extras: Mapping[str, Any]
    endpoint_type: EndpointType


@dataclass(frozen=True, kw_only=True)
class _Compiler:
    document: Document
    registry: Registry
    pins: Mapping[str, ImagePin]
    around: Surroundings

    def plan(self, tree: Mapping[str, Any]) -> Plan:
        refuse_unbuilt(self.document)
        server = self._server()
        return Plan(
            run_id=self.around.run_id,
            run_dir=self.around.run_dir,
            user=self.around.user,
            engine=self.document.execution.engine,
            sealed=server is not None,
            server=server,
            adapter=None,
            evaluations=tuple(self._evaluation(request) for request in self.document.evaluation.tasks),
            document=tree,
        )

    def _server(self) -> Server | None:
        deployment = self.document.deployment
        if deployment.type == "none":
            return None
        if not deployment.model_path:
            raise UsageError(
                "a deployment needs a model", where="deployment.model_path", next_step="name a checkpoint"
            )
        name = self._model_id()
        path = PurePosixPath(self.around.working_dir) / deployment.model_path
        target = f"/models/{path.name}"
        unit = Unit(
            name="server",
            role="server",
            image=self._pin(deployment.type),
            argv=("serve", "--model_path", target, "--served_model_name", name, *_serve_flags(deployment)),
            network="run",
            mounts=(Mount(source=str(path), target=target),),
            gpus=self.document.execution.gpus if deployment.gpus is None else deployment.gpus,
        )
        probe = Unit(
            name="probe",
            role="probe",
            image=self._pin(self._harness_of(self.document.evaluation.tasks[0])),
            argv=(
                *("run_eval", "check", "--model_url", self._base_url(), "--model_id", name),
                *("--wait_s", f"{deployment.readiness_timeout:g}"),
            ),
            network="run",
        )
        return Server(unit=unit, probe=probe, readiness_timeout_s=deployment.readiness_timeout)

    def _evaluation(self, request: TaskRequest) -> Evaluation:
        harness, task = self.registry.find_task(request.name)
        framework = self.registry.harnesses[harness].definition
        everywhere = self.document.evaluation.params
        params = merge_params(framework, task, everywhere, request.params)
        asked = _Asked(
            framework=framework,
            name=f"{harness}.{task.name}",
            extras=merge_extras(framework, task, everywhere.extra, request.params.extra),
            endpoint_type=endpoint_type_of(task, self.document.target.api_endpoint.type),
        )
        return Evaluation(
            harness=harness,
            task=task.name,
            folder=asked.name,
            units=self._units(asked),
            primary_metric=task.primary_metric,
            limit_samples=params["limit_samples"],
        )

    def _units(self, asked: "_Asked") -> tuple[Unit, ...]:
        """Return the task's containers: code of a model never runs in one that can write the results."""
        steps = _steps(asked.framework)
        units = [self._unit(asked, phases) for phases in steps]
        if not any(unit.role == "scoring" for unit in units):
            return tuple(units)
        if not self.document.execution.allow_code_execution:
            raise UsageError(
                f'task "{asked.name}" runs code that the model wrote, and the document forbids it',
                where="execution.allow_code_execution: false",
                next_step="allow it (it runs in a container without network), or leave the task out",
            )
        return (*units, self._unit(asked, ()))

    def _unit(self, asked: "_Asked", phases: Sequence[Phase]) -> Unit:
        """Return the container of neighbouring phases; of no phase: the one that proves and writes."""
        sandboxed = any(phase.executes_model_code for phase in phases)
        networked = any(phase.network == "endpoint" for phase in phases)
        key = self.document.target.api_endpoint.api_key_name
        pin = self._pin(asked.framework.name)
        return Unit(
            name="-".join((asked.name, *([phase.name for phase in phases] or ["prove"]))),
            role="scoring" if sandboxed else "evaluation",
            image=pin,
            argv=self._run_eval(asked, phases, sandboxed=sandboxed),
            network=self._network() if networked else "none",
            settings={
                "EVALDOCK_IMAGE_DIGEST": pin.digest or "",
                "EVALDOCK_IMAGE_ID": pin.image_id or "",
                "EVALDOCK_IMAGE_ORIGIN": pin.origin,
            },
            secret_names=(key,) if key and networked else (),
            mounts=self._mounts(asked, phases if sandboxed else None),
            limits=SCORING_LIMITS if sandboxed else Limits(memory=self.document.execution.memory),
        )

    def _run_eval(self, asked: "_Asked", phases: Sequence[Phase], *, sandboxed: bool) -> tuple[str, ...]:
        _, overrides = self._inputs(asked)
        limit_s = self.document.execution.time_limit_s()
        url = route_url(self._base_url(), asked.endpoint_type)
        return (
            *("run_eval", "--eval_type", asked.name, "--run_config", DOCUMENT_TARGET),
            *("--model_url", url, "--model_id", self._model_id(), "--model_type", asked.endpoint_type),
            *("--output_dir", RESULTS_TARGET),
            *(part for phase in phases for part in ("--phase", phase.name)),
            *(("--overrides", ",".join(overrides)) if overrides else ()),
            *(() if phases else ("--prove_only",)),
            *(("--allow_code_execution", "--scratch_dir", SCRATCH_DIR) if sandboxed else ()),
            *(("--time_limit_s", str(limit_s)) if limit_s is not None else ()),
        )

    def _mounts(self, asked: "_Asked", sandboxed: Sequence[Phase] | None) -> tuple[Mount, ...]:
        run = PurePosixPath(self.around.run_dir)
        inputs, _ = self._inputs(asked)
        folders = [f"native/{folder}" for phase in sandboxed or () for folder in phase.writes]
        return (
            Mount(source=str(run / "run.yaml"), target=DOCUMENT_TARGET),
            Mount(source=str(run / asked.name), target=RESULTS_TARGET, read_only=sandboxed is not None),
            *(
                Mount(
                    source=str(run / asked.name / folder),
                    target=f"{RESULTS_TARGET}/{folder}",
                    read_only=False,
                )
                for folder in folders
            ),
            *inputs,
        )

    def _inputs(self, asked: "_Asked") -> tuple[list[Mount], list[str]]:
        """Return mounts for the paths that a document names, and the overrides that tell the container."""
        mounts, overrides = [], []
        here = PurePosixPath(self.around.working_dir)
        if self.document.data.path:
            mounts.append(Mount(source=str(here / self.document.data.path), target="/mnt/data"))
            overrides.append("data.path=/mnt/data")
        for name, extra in asked.framework.extras.items():
            if extra.type == "path" and asked.extras.get(name):
                mounts.append(Mount(source=str(here / str(asked.extras[name])), target=f"/mnt/extra/{name}"))
                overrides.append(f"params.extra.{name}=/mnt/extra/{name}")
        return mounts, overrides

    def _base_url(self) -> str:
        deployment = self.document.deployment
        if deployment.type != "none":
            return f"http://{SERVER_ALIAS}:{deployment.port}/v1"
        url = self.document.target.api_endpoint.url
        if not url:
            raise UsageError(
                "nothing to evaluate: the document has neither a deployment nor an endpoint",
                where="target.api_endpoint.url",
                next_step="add deployment: {type: …, model_path: …} or target: {api_endpoint: {url: …}}",
            )
        return base_url(url)

    def _network(self) -> UnitNetwork:
        if self.document.deployment.type != "none":
            return "run"
        return "host" if is_local(self._base_url()) else "outside"

    def _model_id(self) -> str:
        name = self.document.served_model_name()
        if not name:
            raise UsageError("no model is named", where="target.api_endpoint.model_id", next_step="add it")
        return name

    def _harness_of(self, request: TaskRequest) -> str:
        return self.registry.find_task(request.name)[0]

    def _pin(self, name: str) -> ImagePin:
        return self.pins[name]


def compile_plan(
    document: Document,
    tree: Mapping[str, Any],
    registry: Registry,
    pins: Mapping[str, ImagePin],
    around: Surroundings,
) -> Plan:
    """Return the plan of a document. `tree` is the merged document as written, `pins` the resolved images.

    Raises UsageError for what the document gets wrong and NotBuiltError for what this version cannot do.
    """
    return _Compiler(document=document, registry=registry, pins=pins, around=around).plan(tree)


def needed_images(document: Document, registry: Registry) -> list[str]:
    """Return the names of the images that a document's plan will use; raises UsageError on unknown tasks."""
    harnesses = [registry.find_task(request.name)[0] for request in document.evaluation.tasks]
    deployment = document.deployment
    if deployment.image:
        raise NotBuiltError("deployment.image", where=f"deployment.image: {deployment.image}")
    servers = [] if deployment.type == "none" else [deployment.type]
    return list(dict.fromkeys([*servers, *harnesses]))


def refuse_unbuilt(document: Document) -> None:
    """Raise NotBuiltError for parts of the contract that this version validates but does not carry out."""
    unbuilt = {
        f"execution.type: {document.execution.type}": document.execution.type != "local",
        f"execution.engine: {document.execution.engine}": document.execution.engine not in ("auto", "docker"),
        "target.auxiliary": bool(document.target.auxiliary),
        "target.api_endpoint.adapter_config": document.target.api_endpoint.adapter_config is not None,
        "export": bool(document.export),
        "data.hf_endpoint": document.data.hf_endpoint is not None,
        "deployment.replicas above 1": document.deployment.replicas > 1,
        "deployment.num_nodes above 1": document.deployment.num_nodes > 1,
        "execution.network: sealed without a deployment (it needs the adapter)": (
            document.execution.network == "sealed" and document.deployment.type == "none"
        ),
        "execution.network: open with a deployment": (
            document.execution.network == "open" and document.deployment.type != "none"
        ),
    }
    for what, is_used in unbuilt.items():
        if is_used:
            raise NotBuiltError(what)


def _steps(framework: Framework) -> list[list[Phase]]:
    """Group neighbouring phases that may share a container: one sandbox for those that run model code."""
    steps: list[list[Phase]] = []
    for phase in framework.phases:
        if steps and steps[-1][-1].executes_model_code == phase.executes_model_code:
            steps[-1].append(phase)
        else:
            steps.append([phase])
    return steps


def _serve_flags(deployment: Deployment) -> tuple[str, ...]:
    """Return the flags of values that the document sets."""
    names = {
        "port": "--port",
        "max_model_len": "--max_model_len",
        "max_batch_size": "--max_batch_size",
        "tensor_parallelism": "--tensor_parallelism",
        "pipeline_parallelism": "--pipeline_parallelism",
        "context_parallelism": "--context_parallelism",
        "expert_parallelism": "--expert_parallelism",
        "data_parallelism": "--data_parallelism",
        "gpu_memory_utilization": "--gpu_memory_utilization",
        "dtype": "--dtype",
    }
    written = deployment.model_fields_set | {"port"}
    flags = [
        part
        for field_name, flag in names.items()
        if field_name in written and getattr(deployment, field_name) is not None
        for part in (flag, str(getattr(deployment, field_name)))
    ]
    return (*flags, *deployment.extra_args)
