"""Compiles a document into a Plan: a plain list of containers. Pure: no engine, no clock, no network."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from evaldock.registry import ImagePin, Registry
from evaldock_entrypoints.contract.document import Deployment, Document, Gpus, TaskRequest
from evaldock_entrypoints.contract.endpoint import base_url, is_local, route_url
from evaldock_entrypoints.contract.errors import NotBuiltError, UsageError
from evaldock_entrypoints.contract.framework import EndpointType, Framework, Phase, Task
from evaldock_entrypoints.contract.tasks import endpoint_type_of, merge_extras, merge_params

RESULTS_TARGET = "/results"
DOCUMENT_TARGET = "/evaldock/run.yaml"
SERVER_ALIAS = "server"

# run: the run's internal network; host: the host's own; outside: a bridge with a way out; none: loopback only
UnitNetwork = Literal["run", "host", "outside", "none"]
Role = Literal["server", "probe", "evaluation", "scoring"]


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A bind mount; source is a path of the host, target one of the container."""

    source: str
    target: str
    read_only: bool = True


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of one container. memory as in "512m"; None: the host's own bound."""

    memory: str | None = None
    cpus: float | None = None
    pids: int = 4096
    tmp_size: str = "1g"
    open_files: int | None = None
    file_size_bytes: int | None = None
    shares_memory: bool = True  # whether the container has a /dev/shm


# One file may not fill /tmp, or one answer would deny the scores of the others.
SCORING_LIMITS = Limits(
    memory="1g",
    pids=128,
    tmp_size="128m",
    open_files=256,
    file_size_bytes=64 * 1024**2,
    shares_memory=False,
)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One container."""

    name: str
    role: Role
    image: ImagePin
    argv: tuple[str, ...]
    network: UnitNetwork
    settings: Mapping[str, str] = field(default_factory=dict)  # environment, no secrets
    secret_names: tuple[str, ...] = ()  # variables handed over from the caller's environment
    mounts: tuple[Mount, ...] = ()
    gpus: Gpus = "none"
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, kw_only=True)
class Server:
    """The model server, and the probe that says when it is ready."""

    unit: Unit
    probe: Unit
    readiness_timeout_s: float


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """The proxy between harness and endpoint. No plan holds one yet: this version has no adapter."""

    unit: Unit


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One task: its containers in order, and its folder below the run's."""

    harness: str
    task: str
    folder: str
    units: tuple[Unit, ...]
    primary_metric: str | None
    limit_samples: float | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that an executor needs."""

    run_id: str
    run_dir: str
    user: str  # uid:gid
    sealed: bool  # the harness reaches the server and nothing else
    server: Server | None
    adapter: Adapter | None
    evaluations: tuple[Evaluation, ...]
    document: Mapping[str, Any]

    @property
    def images(self) -> dict[str, ImagePin]:
        units = [unit for evaluation in self.evaluations for unit in evaluation.units]
        servers = [self.server.unit, self.server.probe] if self.server else []
        return {unit.image.name: unit.image for unit in (*servers, *units)}

    def as_json(self) -> str:
        """Return the plan as text, for --dry_run and golden tests."""
        return json.dumps(asdict(self), default=lambda pin: pin.model_dump(), indent=2)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a plan needs to know of the machine."""

    run_id: str
    run_dir: str
    user: str
    working_dir: str  # relative paths of the document are relative to this


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
            image=self._pin(deployment.image or deployment.type),
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
        extras = merge_extras(framework, task, everywhere.extra, request.params.extra)
        endpoint_type = endpoint_type_of(task, self.document.target.api_endpoint.type)
        folder = f"{harness}.{task.name}"
        units = tuple(
            self._phase_unit(framework, task, phase, extras, endpoint_type, folder)
            for phase in _steps(framework)
        )
        return Evaluation(
            harness=harness,
            task=task.name,
            folder=folder,
            units=units,
            primary_metric=task.primary_metric,
            limit_samples=params["limit_samples"],
        )

    def _phase_unit(
        self,
        framework: Framework,
        task: Task,
        phases: Sequence[Phase],
        extras: Mapping[str, Any],
        endpoint_type: EndpointType,
        folder: str,
    ) -> Unit:
        sandboxed = any(phase.executes_model_code for phase in phases)
        networked = any(phase.network == "endpoint" for phase in phases)
        mounts, overrides = self._inputs(framework, extras)
        key = self.document.target.api_endpoint.api_key_name
        run = PurePosixPath(self.around.run_dir)
        pin = self._pin(framework.name)
        limit_s = self.document.execution.time_limit_s()
        return Unit(
            name="-".join((folder, *(phase.name for phase in phases))),
            role="scoring" if sandboxed else "evaluation",
            image=pin,
            argv=(
                *(
                    "run_eval",
                    "--eval_type",
                    f"{framework.name}.{task.name}",
                    "--run_config",
                    DOCUMENT_TARGET,
                ),
                *("--model_url", route_url(self._base_url(), endpoint_type), "--model_id", self._model_id()),
                *("--model_type", endpoint_type, "--output_dir", RESULTS_TARGET),
                *(part for phase in phases for part in ("--phase", phase.name)),
                *(("--overrides", ",".join(overrides)) if overrides else ()),
                *(("--allow_code_execution",) if sandboxed else ()),
                *(("--time_limit_s", str(limit_s)) if limit_s is not None else ()),
            ),
            network=self._network() if networked else "none",
            settings={
                "EVALDOCK_IMAGE_DIGEST": pin.digest,
                "EVALDOCK_IMAGE_ID": pin.image_id or "",
                "EVALDOCK_IMAGE_ORIGIN": pin.origin,
            },
            secret_names=(key,) if key and networked else (),
            mounts=(
                Mount(source=str(run / "run.yaml"), target=DOCUMENT_TARGET),
                Mount(source=str(run / folder), target=RESULTS_TARGET, read_only=False),
                *mounts,
            ),
            limits=SCORING_LIMITS if sandboxed else Limits(memory=self.document.execution.memory),
        )

    def _inputs(self, framework: Framework, extras: Mapping[str, Any]) -> tuple[list[Mount], list[str]]:
        """Return mounts for the paths that a document names, and the overrides that tell the container."""
        mounts, overrides = [], []
        here = PurePosixPath(self.around.working_dir)
        if self.document.data.path:
            mounts.append(Mount(source=str(here / self.document.data.path), target="/mnt/data"))
            overrides.append("data.path=/mnt/data")
        for name, extra in framework.extras.items():
            if extra.type == "path" and extras.get(name):
                mounts.append(Mount(source=str(here / str(extras[name])), target=f"/mnt/extra/{name}"))
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
    servers = [] if deployment.type == "none" else [deployment.image or deployment.type]
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
