"""The evaluation units: each task's containers, in order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from evaldock.compiler.inputs import Inputs
from evaldock.plan import (
    ADAPTER_FOLDER,
    REPLAY_LIMITS,
    SCORING_LIMITS,
    Evaluation,
    Limits,
    Mount,
    Stop,
    Unit,
    UnitNetwork,
)
from evaldock.registry import Registry
from evaldock_entrypoints.contract.adapter import EXCHANGES, SOCKET_NAME, socket_folder
from evaldock_entrypoints.contract.chain import module_folders
from evaldock_entrypoints.contract.document import TaskRequest
from evaldock_entrypoints.contract.endpoint import Endpoint, route_url
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.framework import EndpointType, Framework, Phase, Task, native_part
from evaldock_entrypoints.contract.layers import KeyPath, Merged
from evaldock_entrypoints.contract.tasks import (
    EVERYWHERE,
    Requested,
    Value,
    effective_extras,
    effective_params,
    endpoint_type_of,
    plain,
    refuse_missing_roles,
    refuse_missing_shots,
)

RESULTS_TARGET = "/results"
ADAPTER_TARGET = (
    "/evaldock/adapter"  # where a harness finds its task's socket, and nothing else of the adapter
)
DOCUMENT_TARGET = "/evaldock/run.yaml"
DATA_TARGET = "/mnt/data"
MODULES_TARGET = "/mnt/interceptors"  # interceptors of the user's own
SCRATCH_DIR = "/tmp/evaldock"  # a tmpfs of the container's own


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One task with all that its containers are told."""

    framework: Framework
    task: Task
    params: dict[str, Value]
    extras: dict[str, Value]
    extra_keys: dict[str, KeyPath]  # extras that the document sets, and where
    endpoint_type: EndpointType
    stops: tuple[Stop, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.framework.name}.{self.task.name}"


def asked_task(inputs: Inputs, index: int) -> Asked:
    """Return the document's task of this number with its effective parameters; raises UsageError."""
    request = inputs.document.evaluation.tasks[index]
    path: KeyPath = ("evaluation", "tasks", index)
    harness, task = find(inputs.registry, inputs.merged, request, index)
    framework = inputs.registry.harnesses[harness].definition
    everywhere = Requested(params=inputs.document.evaluation.params, path=EVERYWHERE, document=inputs.merged)
    own = Requested(params=request.params, path=(*path, "params"), document=inputs.merged)
    wanted, place = inputs.wanted_type()
    asked = Asked(
        framework=framework,
        task=task,
        params=effective_params(framework, task, everywhere, own),
        extras=effective_extras(framework, task, everywhere, own),
        extra_keys={
            name: (*layer.path, "extra", name) for layer in (everywhere, own) for name in layer.params.extra
        },
        endpoint_type=endpoint_type_of(framework, task, wanted, place=place),
    )
    roles = inputs.document.target.auxiliary
    refuse_missing_roles(task, roles, place=inputs.merged.place(("target", "auxiliary")))
    return replace(asked, stops=(*_missing_data(inputs, asked), *_missing_shots(inputs, asked, path)))


def find(registry: Registry, merged: Merged, request: TaskRequest, index: int) -> tuple[str, Task]:
    """Return (harness, task) of a request; raises UsageError that says where it stands."""
    try:
        return registry.find_task(request.name)
    except UsageError as error:
        error.where = merged.place(("evaluation", "tasks", index, "name"))
        raise


def data_notes(inputs: Inputs) -> Iterator[str]:
    """Yield what the document says of data and a run has no use for."""
    if inputs.is_written("data", "hf_token_name") and inputs.document.data.hf_endpoint is None:
        place = inputs.place("data", "hf_token_name")
        yield f"{place}: no hub is asked without data.hf_endpoint, so its token is not used"


def _missing_data(inputs: Inputs, asked: Asked) -> tuple[Stop, ...]:
    """Return what stops a run of a task whose questions the image lacks and nobody brings."""
    data = inputs.document.data
    sources = [source for source in asked.task.data if source.role == "test" and not source.in_image]
    if not sources or data.path is not None or (data.hf_endpoint is not None and not data.offline):
        return ()
    names = ", ".join(dict.fromkeys(source.dataset for source in sources))
    return (
        Stop(
            what=f'the data of "{asked.task.name}" is not in the image: {names}',
            where=inputs.place("data", "path"),
            next_step=f"evaldock data pull {asked.name} --into data, then set data: {{path: data}}",
            is_unbuilt=False,
        ),
    )


def _missing_shots(inputs: Inputs, asked: Asked, path: KeyPath) -> tuple[Stop, ...]:
    """Return what stops a run of the task: a plan is made all the same, for data that comes later."""
    shots = asked.extras.get("num_fewshot")
    key = asked.extra_keys.get("num_fewshot", (*path, "params", "extra", "num_fewshot"))
    try:
        refuse_missing_shots(
            asked.task,
            shots.value if shots else None,
            data_is_mounted=inputs.document.data.path is not None,
            place=inputs.merged.place(key),
        )
    except UsageError as error:
        step = error.next_step or ""
        return (Stop(what=error.message, where=error.where or "", next_step=step, is_unbuilt=False),)
    return ()


def evaluation_of(inputs: Inputs, asked: Asked) -> Evaluation:
    """Return the task's units and its folder; raises UsageError."""
    return Evaluation(
        harness=asked.framework.name,
        task=asked.task.name,
        folder=asked.name,
        endpoint=Endpoint(
            base_url=inputs.base_url(),
            url=route_url(inputs.base_url(), asked.endpoint_type),
            model_id=inputs.model_id(),
            type=asked.endpoint_type,
            api_key_name=inputs.document.target.api_endpoint.api_key_name,
        ),
        units=_units(inputs, asked),
        primary_metric=asked.task.primary_metric,
        limit_samples=asked.params["limit_samples"].value,
    )


def _units(inputs: Inputs, asked: Asked) -> tuple[Unit, ...]:
    """Return the task's containers: code of a model never runs in one that can write the results."""
    units = [_unit(inputs, asked, phases) for phases in _steps(asked)]
    if not any(unit.role == "scoring" for unit in units):
        return tuple(units)
    if not inputs.document.execution.allow_code_execution:
        raise UsageError(
            f'task "{asked.name}" runs code that the model wrote, and the document forbids it',
            where=f"{inputs.place('execution', 'allow_code_execution')}: false",
            next_step="allow it (it runs in a container without network), or leave the task out",
        )
    return (*units, _unit(inputs, asked, ()))


def _steps(asked: Asked) -> list[list[Phase]]:
    """Group neighbouring phases that may share a container: one sandbox for those that run model code."""
    steps: list[list[Phase]] = []
    for phase in asked.framework.phases_of(asked.task):
        if steps and steps[-1][-1].executes_model_code == phase.executes_model_code:
            steps[-1].append(phase)
        else:
            steps.append([phase])
    return steps


def _unit(inputs: Inputs, asked: Asked, phases: Sequence[Phase]) -> Unit:
    """Return the container of neighbouring phases; of no phase: the one that proves and writes."""
    sandboxed = any(phase.executes_model_code for phase in phases)
    networked = any(phase.network == "endpoint" for phase in phases)
    replays = any(phase.network == "replay" for phase in phases)
    pin = inputs.pins[asked.framework.name]
    return Unit(
        name="-".join((asked.name, *([phase.name for phase in phases] or ["prove"]))),
        role="scoring" if sandboxed else "evaluation",
        image=pin,
        argv=(*_run_eval(inputs, asked, phases, sandboxed=sandboxed), *(_reach(inputs) if networked else ())),
        network=_network(inputs) if networked else "none",
        settings={
            "EVALDOCK_IMAGE_DIGEST": pin.digest or "",
            "EVALDOCK_IMAGE_ID": pin.image_id or "",
            "EVALDOCK_IMAGE_ORIGIN": pin.origin,
        },
        mounts=(
            *_mounts(inputs, asked, phases if sandboxed else None),
            *(module_mounts(inputs) if replays else ()),
            *((_socket(inputs, asked),) if networked else ()),
        ),
        gpus=inputs.gpus()[1] if networked else "none",
        limits=_limits(inputs, sandboxed=sandboxed, replays=replays),
    )


def module_mounts(inputs: Inputs) -> tuple[Mount, ...]:
    """Return the mounts of the folders with interceptors of the user's own."""
    path: KeyPath = ("target", "api_endpoint", "adapter_config")
    folders = module_folders(inputs.document.target.api_endpoint.adapter_config)
    return tuple(
        inputs.mount(folder, f"{MODULES_TARGET}/{number}", (*path, "discovery", "dirs", number))
        for number, folder in enumerate(folders)
    )


def _limits(inputs: Inputs, *, sandboxed: bool, replays: bool) -> Limits:
    if not sandboxed:
        return Limits(memory=inputs.document.execution.memory)
    return REPLAY_LIMITS if replays else SCORING_LIMITS


def _run_eval(inputs: Inputs, asked: Asked, phases: Sequence[Phase], *, sandboxed: bool) -> tuple[str, ...]:
    _, overrides = _inputs(inputs, asked)
    if any(phase.network == "replay" for phase in phases) and (modules := module_mounts(inputs)):
        folders = ",".join(mount.target for mount in modules)
        overrides.append(f"target.api_endpoint.adapter_config.discovery.dirs=[{folders}]")
    limit_s = inputs.document.execution.time_limit_s()
    url = route_url(inputs.base_url(), asked.endpoint_type)
    return (
        *("run_eval", "--eval_type", asked.name, "--run_config", DOCUMENT_TARGET),
        *("--model_url", url, "--model_id", inputs.model_id(), "--model_type", asked.endpoint_type),
        *("--output_dir", RESULTS_TARGET),
        *(part for phase in phases for part in ("--phase", phase.name)),
        *(("--overrides", ",".join(overrides)) if overrides else ()),
        *(() if phases else ("--prove_only",)),
        *(("--allow_code_execution", "--scratch_dir", SCRATCH_DIR) if sandboxed else ()),
        *(("--time_limit_s", str(limit_s)) if limit_s is not None else ()),
    )


def _network(inputs: Inputs) -> UnitNetwork:
    """Return the harness's network: the way to the endpoint is the adapter's, whatever this is."""
    return "outside" if inputs.document.execution.network == "open" else "none"


def _reach(inputs: Inputs) -> tuple[str, ...]:
    """Return the flags of a container that talks to the endpoint, through the adapter."""
    socket = f"{ADAPTER_TARGET}/{SOCKET_NAME}"
    return ("--adapter_socket", socket, "--network", inputs.document.execution.network)


def _socket(inputs: Inputs, asked: Asked) -> Mount:
    folder = PurePosixPath(inputs.around.run_dir) / ADAPTER_FOLDER / socket_folder(asked.name)
    return Mount(source=str(folder), target=ADAPTER_TARGET)


def _mounts(inputs: Inputs, asked: Asked, sandboxed: Sequence[Phase] | None) -> tuple[Mount, ...]:
    run = PurePosixPath(inputs.around.run_dir)
    mounts, _ = _inputs(inputs, asked)
    starts = asked.framework.starts(plain(asked.params))
    written = dict.fromkeys(folder for phase in sandboxed or () for folder in phase.writes)
    folders = [f"{native_part(starts, repeat)}/{folder}" for repeat in range(starts) for folder in written]
    return (
        Mount(source=str(run / "run.yaml"), target=DOCUMENT_TARGET),
        Mount(source=str(run / asked.name), target=RESULTS_TARGET, read_only=sandboxed is not None),
        # What was asked and answered is the adapter's to write, and proof for whoever reads it.
        Mount(source=str(run / asked.name / EXCHANGES), target=f"{RESULTS_TARGET}/{EXCHANGES}"),
        *(
            Mount(source=str(run / asked.name / folder), target=f"{RESULTS_TARGET}/{folder}", read_only=False)
            for folder in folders
        ),
        *mounts,
    )


def _inputs(inputs: Inputs, asked: Asked) -> tuple[list[Mount], list[str]]:
    """Return mounts for the paths that a document names, and the overrides that tell the container."""
    mounts, overrides = [], []
    if inputs.document.data.path:
        mounts.append(inputs.mount(inputs.document.data.path, DATA_TARGET, ("data", "path")))
        overrides.append(f"data.path={DATA_TARGET}")
    for name, value in _paths(asked):
        target = f"/mnt/extra/{name}"
        mounts.append(inputs.mount(value, target, asked.extra_keys.get(name, ())))
        overrides.append(f"params.extra.{name}={target}")
    return mounts, overrides


def _paths(asked: Asked) -> list[tuple[str, str]]:
    named: list[tuple[str, Any]] = [(name, value.value) for name, value in asked.extras.items()]
    return [
        (name, str(value)) for name, value in named if value and asked.framework.extras[name].type == "path"
    ]
