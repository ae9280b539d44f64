"""The evaluation units: each task's containers, in order."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from evaldock.compiler.asked import Asked
from evaldock.compiler.inputs import Inputs
from evaldock.plan import (
    ADAPTER_FOLDER,
    REPLAY_LIMITS,
    SCORING_LIMITS,
    Evaluation,
    Limits,
    Mount,
    Unit,
    UnitNetwork,
)
from evaldock_entrypoints.contract.adapter import EXCHANGES, SOCKET_NAME, socket_folder
from evaldock_entrypoints.contract.chain import module_folders
from evaldock_entrypoints.contract.endpoint import Endpoint, route_url
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.framework import Phase, native_part
from evaldock_entrypoints.contract.layers import KeyPath
from evaldock_entrypoints.contract.tasks import plain

RESULTS_TARGET = "/results"
# where a harness finds its task's socket, and nothing else of the adapter
ADAPTER_TARGET = "/evaldock/adapter"
DOCUMENT_TARGET = "/evaldock/run.yaml"
DATA_TARGET = "/mnt/data"
MODULES_TARGET = "/mnt/interceptors"  # interceptors of the user's own
SCRATCH_DIR = "/tmp/evaldock"  # a tmpfs of the container's own


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
