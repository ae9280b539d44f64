"""From flags and a run configuration to one Job."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.adapter import TaskSettings
from evaldock_entrypoints.contract.chain import chain_of, module_folders
from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.endpoint import Endpoint, endpoint_at, route_url
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.explain import as_text, document_rows, task_rows
from evaldock_entrypoints.contract.framework import Framework, Task
from evaldock_entrypoints.contract.layers import KeyPath, Layer, Merged
from evaldock_entrypoints.contract.overrides import override_layer, split_overrides
from evaldock_entrypoints.contract.reader import load_yaml
from evaldock_entrypoints.contract.reading import Read, flag_layer, read
from evaldock_entrypoints.contract.served import (
    Model,
    auxiliary_model,
    auxiliary_served,
    auxiliary_type,
    model_at,
    wanted_type,
)
from evaldock_entrypoints.contract.target import AuxiliaryEndpoint
from evaldock_entrypoints.contract.tasks import (
    EVERYWHERE,
    Requested,
    Value,
    effective_extras,
    effective_params,
    endpoint_type_of,
    find_task,
    plain,
    refuse_missing_roles,
)
from evaldock_entrypoints.contract.validation import validate
from evaldock_entrypoints.data.view import manifest_of, mounted_datasets
from evaldock_entrypoints.run_eval.job import AUXILIARY_PARAMS, Auxiliary, Job

_ENDPOINT_FLAGS = {
    "model_url": "url",
    "model_id": "model_id",
    "model_type": "type",
    "api_key_name": "api_key_name",
}
_PARAM_FLAGS = ("limit_samples", "parallelism", "seed", "repeats")
_ENDPOINT: KeyPath = ("target", "api_endpoint")
_TASK: KeyPath = ("evaluation", "tasks", 0)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What stood on the command line."""

    eval_type: str | None
    output_dir: Path | None
    run_config: Path | None = None
    overrides: str | None = None
    flags: dict[str, Any]
    scratch_dir: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The one task that this container is to run, as the document and the flags say."""

    eval_type: str
    document: Document
    read: Read


@dataclass(frozen=True, kw_only=True)
class Effective:
    """Every parameter and extra of the task, with its origin."""

    params: dict[str, Value]
    extras: dict[str, Value]


def read_request(request: Request, framework: Framework) -> Asked:
    """Merge run configuration, flags and overrides into a document of one task; raises UsageError."""
    overrides = override_layer(
        map(_under_evaluation, split_overrides(request.overrides or "")), "--overrides"
    )
    documents = [load_yaml(request.run_config)] if request.run_config else []
    whole = read(documents, flags=_flags(request.flags), overrides=overrides, environ=os.environ)
    eval_type = request.eval_type or _only_task(whole.merged, framework)
    one = replace(whole, merged=_with_one_task(whole.merged, eval_type))
    return Asked(eval_type=eval_type, document=validate(Document, one.merged), read=one)


def effective(asked: Asked, framework: Framework, task: Task) -> Effective:
    """Return the task's parameters and extras; raises UsageError."""
    own = asked.document.evaluation.tasks[0].params
    layers = (
        Requested(params=asked.document.evaluation.params, path=EVERYWHERE, document=asked.read.merged),
        Requested(params=own, path=(*_TASK, "params"), document=asked.read.merged),
    )
    return Effective(
        params=effective_params(framework, task, *layers), extras=effective_extras(framework, task, *layers)
    )


def make_job(
    asked: Asked, request: Request, framework: Framework, *, harness_dir: Path, data_dir: Path
) -> Job:
    """Resolve the task, its parameters and its endpoint; raises UsageError."""
    task = find_task(framework, asked.eval_type, harness_dir)
    values = effective(asked, framework, task)
    roles = asked.document.target.auxiliary
    refuse_missing_roles(task, roles, place=asked.read.merged.place(("target", "auxiliary")))
    mounted = _mounted_data(asked, task)
    return Job(
        framework=framework,
        task=task,
        params=plain(values.params),
        extras=plain(values.extras),
        endpoint=_endpoint(asked, framework, task),
        chain=chain_of(
            asked.document.target.api_endpoint.adapter_config,
            asked.read.merged,
            (*_ENDPOINT, "adapter_config"),
        ),
        auxiliary=_auxiliary(asked),
        output_dir=_output_dir(asked, request),
        data_dir=data_dir,
        mounted_data_dir=mounted,
        scratch_dir=request.scratch_dir,
        harness_dir=harness_dir,
        manifest=manifest_of(task, data_dir, mounted),
    )


def task_settings(asked: Asked, job: Job) -> TaskSettings:
    """Return what an adapter of this task's own is told; raises UsageError for a chain that cannot be."""
    target, merged = asked.document.target, asked.read.merged
    model = model_at(
        target.api_endpoint, merged, _ENDPOINT, url=job.endpoint.base_url, model_id=job.endpoint.model_id
    )
    others = {role: auxiliary_model(role, wanted, merged) for role, wanted in target.auxiliary.items()}
    return TaskSettings(
        target=model.served(job.endpoint.type, job.params),
        auxiliary={role: auxiliary_served(other, job.params) for role, other in others.items()},
        folder=str(job.output_dir),
        modules=[str(Path(name).absolute()) for name in module_folders(target.api_endpoint.adapter_config)],
    )


def _output_dir(asked: Asked, request: Request) -> Path:
    """Return the task's own folder: --output_dir, or output.dir where the run configuration sets it."""
    if request.output_dir is not None:
        return request.output_dir.absolute()
    if asked.read.merged.origin(("output", "dir")) is not None:
        return Path(asked.document.output.dir).absolute()
    raise UsageError(
        "no folder for the results given", where="--output_dir", next_step="--output_dir /results"
    )


def _mounted_data(asked: Asked, task: Task) -> Path | None:
    """Return the user's own data folder where it holds data of the task."""
    named = asked.document.data.path
    return Path(named) if named and mounted_datasets(Path(named), task) else None


def _auxiliary(asked: Asked) -> dict[str, Auxiliary]:
    """Return the document's further models; raises UsageError."""
    merged = asked.read.merged
    return {
        role: _auxiliary_of(auxiliary_model(role, wanted, merged), wanted)
        for role, wanted in asked.document.target.auxiliary.items()
    }


def _auxiliary_of(model: Model, wanted: AuxiliaryEndpoint) -> Auxiliary:
    kind = auxiliary_type(model)
    return Auxiliary(
        endpoint=Endpoint(
            base_url=model.base_urls[0],
            url=route_url(model.base_urls[0], kind),
            model_id=model.model_id,
            type=kind,
            api_key_name=wanted.api_key_name,
        ),
        params={name: value for name in AUXILIARY_PARAMS if (value := getattr(wanted, name)) is not None},
    )


def _under_evaluation(assignment: str) -> str:
    """Read `params.x=1` as `evaluation.params.x=1`."""
    return f"evaluation.{assignment}" if assignment.strip().startswith("params.") else assignment.strip()


def _flags(flags: dict[str, Any]) -> Layer:
    endpoint = {(*_ENDPOINT, key): (f"--{flag}", flags.get(flag)) for flag, key in _ENDPOINT_FLAGS.items()}
    params = {(*EVERYWHERE, name): (f"--{name}", flags.get(name)) for name in _PARAM_FLAGS}
    return flag_layer({**endpoint, **params})


def _only_task(merged: Merged, framework: Framework) -> str:
    """Return the name of the one task that the document holds; raises UsageError."""
    names = [_name(entry) for entry in _tasks(merged)]
    if len(names) == 1 and names[0]:
        return names[0]
    known = ", ".join(names or [task.name for task in framework.tasks])
    raise UsageError("no task given", where="--eval_type", next_step=f"one of: {known}")


def _with_one_task(merged: Merged, eval_type: str) -> Merged:
    """Keep of evaluation.tasks the entry that this container runs."""
    tasks = _tasks(merged)
    index = _index_of(eval_type, merged)
    entry = {"name": eval_type} if index is None else tasks[index]
    others = {path: where for path, where in merged.origins.items() if path[:2] != _TASK[:2]}
    mine = {
        (*_TASK, *path[3:]): where
        for path, where in merged.origins.items()
        if path[:3] == ("evaluation", "tasks", index)
    }
    evaluation = {**merged.tree.get("evaluation", {}), "tasks": [entry]}
    tree = {**merged.tree, "evaluation": evaluation}
    return Merged(tree=tree, origins={(*_TASK, "name"): "--eval_type", **others, **mine})


def _index_of(eval_type: str, merged: Merged) -> int | None:
    """Return the number of the task's entry; raises UsageError where two other spellings may both mean it.

    The harness may stand there under an alias (`lm_eval.gsm8k`), which an image does not know.
    """
    names = [_name(entry) for entry in _tasks(merged)]
    bare = eval_type.rpartition(".")[2]
    for name in (eval_type, bare):
        if name in names:
            return names.index(name)
    spelt = [index for index, name in enumerate(names) if name.rpartition(".")[2] == bare]
    if len(spelt) > 1:
        raise UsageError(
            f'which of {" and ".join(names[index] for index in spelt)} is "{eval_type}" cannot be told',
            where=merged.place((*_TASK[:2], spelt[0])),
            next_step=f"write it as {eval_type}",
        )
    return spelt[0] if spelt else None


def _tasks(merged: Merged) -> list[Any]:
    evaluation = merged.tree.get("evaluation")
    tasks = evaluation.get("tasks") if isinstance(evaluation, dict) else None
    return tasks if isinstance(tasks, list) else []


def _name(entry: Any) -> str:
    name = entry.get("name", "") if isinstance(entry, dict) else entry
    return name if isinstance(name, str) else ""


def _endpoint(asked: Asked, framework: Framework, task: Task) -> Endpoint:
    wanted, merged = asked.document.target.api_endpoint, asked.read.merged
    if not wanted.url:
        raise UsageError(
            "no endpoint to evaluate", where="--model_url", next_step="give --model_url http://HOST:PORT/v1"
        )
    if not wanted.model_id:
        raise UsageError(
            "no model to ask for",
            where="--model_id",
            next_step="give --model_id, the name the endpoint serves",
        )
    key = "url" if wanted.type is None else "type"
    return endpoint_at(
        wanted.url,
        model_id=wanted.model_id,
        endpoint_type=endpoint_type_of(
            framework, task, wanted_type(wanted), place=merged.place((*_ENDPOINT, key))
        ),
        api_key_name=wanted.api_key_name,
    )


def explained(asked: Asked, framework: Framework, harness_dir: Path) -> str:
    """Return every value of the document and of the task with where it was set."""
    task = find_task(framework, asked.eval_type, harness_dir)
    values = effective(asked, framework, task)
    rows = document_rows(asked.document, asked.read.merged)
    return as_text([*rows, *task_rows(f"{framework.name}.{task.name}", values.params, values.extras)])
