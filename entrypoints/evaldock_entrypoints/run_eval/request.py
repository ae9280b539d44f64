"""From flags and a run configuration to one Job."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.endpoint import Endpoint, endpoint_at
from evaldock_entrypoints.contract.errors import NotBuiltError, UsageError
from evaldock_entrypoints.contract.framework import Framework, Task
from evaldock_entrypoints.contract.loading import Layer, Merged, load_yaml, merge, override_layer, validate
from evaldock_entrypoints.contract.tasks import endpoint_type_of, find_task, merge_extras, merge_params
from evaldock_entrypoints.run_eval.job import Job, read_manifest

_ENDPOINT_FLAGS = {
    "model_url": "url",
    "model_id": "model_id",
    "model_type": "type",
    "api_key_name": "api_key_name",
}
_PARAM_FLAGS = ("limit_samples", "parallelism", "seed", "repeats")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What stood on the command line."""

    eval_type: str
    output_dir: Path
    run_config: Path | None = None
    overrides: str | None = None
    flags: dict[str, Any]
    scratch_dir: Path | None = None


def read_document(request: Request) -> Document:
    """Merge run configuration, flags and overrides into a document of one task; raises UsageError."""
    layers = [Layer(tree={"evaluation": {"tasks": [{"name": request.eval_type}]}}, name="--eval_type")]
    if request.run_config:
        layers.append(_only_this_task(load_yaml(request.run_config), request.eval_type))
    layers.append(_flag_layer(request.flags))
    overrides = override_layer(split_overrides(request.overrides or ""), "--overrides")
    layers.append(Layer(tree=_without_params(overrides.tree), origins=overrides.origins, name=overrides.name))
    merged = merge(layers)
    _set_task_params(merged, {**_flag_params(request.flags), **_override_params(overrides.tree)})
    return validate(Document, merged)


def make_job(
    document: Document, request: Request, framework: Framework, *, harness_dir: Path, data_dir: Path
) -> Job:
    """Resolve the task, its parameters and its endpoint; raises UsageError."""
    task = find_task(framework, request.eval_type)
    wanted = document.evaluation.tasks[0].params
    params = merge_params(framework, task, document.evaluation.params, wanted)
    extras = merge_extras(framework, task, document.evaluation.params.extra, wanted.extra)
    data = _data_dir(document.data.path, task, data_dir)
    return Job(
        framework=framework,
        task=task,
        params=params,
        extras=extras,
        endpoint=_endpoint(document, task),
        output_dir=request.output_dir.absolute(),
        data_dir=data,
        data_is_mounted=data != data_dir,
        scratch_dir=request.scratch_dir,
        harness_dir=harness_dir,
        manifest=read_manifest(data),
    )


def _data_dir(mounted: str | None, task: Task, built_in: Path) -> Path:
    """Return the mounted folder where it holds the task's data, else the image's own."""
    if mounted and any((Path(mounted) / source.dataset).exists() for source in task.data):
        return Path(mounted)
    return built_in


def split_overrides(text: str) -> list[str]:
    """Split `a.b=1,c='x,y',d=[1,2]` at its outer commas."""
    parts, depth, quote, current = [], 0, "", ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append(current)
            current = ""
            continue
        current += character
    return [part for part in (*parts, current) if part.strip()]


def _only_this_task(layer: Layer, eval_type: str) -> Layer:
    """Keep of evaluation.tasks the entry that this container runs."""
    evaluation = layer.tree.get("evaluation")
    if not isinstance(evaluation, dict) or not isinstance(evaluation.get("tasks"), list):
        return layer
    tasks = evaluation["tasks"]
    named = [task if isinstance(task, dict) else {"name": task} for task in tasks]
    mine = [task for task in named if task.get("name") in (eval_type, eval_type.rpartition(".")[2])]
    kept = {**evaluation, "tasks": mine[:1] or [{"name": eval_type}]}
    return Layer(tree={**layer.tree, "evaluation": kept}, origins=layer.origins, name=layer.name)


def _flag_layer(flags: dict[str, Any]) -> Layer:
    endpoint = {key: flags[flag] for flag, key in _ENDPOINT_FLAGS.items() if flags.get(flag) is not None}
    return Layer(tree={"target": {"api_endpoint": endpoint}} if endpoint else {}, name="flag")


def _flag_params(flags: dict[str, Any]) -> dict[str, Any]:
    return {name: flags[name] for name in _PARAM_FLAGS if flags.get(name) is not None}


def _override_params(tree: dict[str, Any]) -> dict[str, Any]:
    """Return what `params.…`, `config.params.…` and `evaluation.params.…` overrides set."""
    found: dict[str, Any] = {}
    for parent in (tree, tree.get("config", {}), tree.get("evaluation", {})):
        found |= parent.get("params", {}) if isinstance(parent, dict) else {}
    return found


def _without_params(tree: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in tree.items() if key not in ("params", "config")}
    if isinstance(kept.get("evaluation"), dict):
        kept["evaluation"] = {key: value for key, value in kept["evaluation"].items() if key != "params"}
    return kept


def _set_task_params(merged: Merged, params: dict[str, Any]) -> None:
    """Lay flags and overrides over the task's own parameters, which beat those of all tasks."""
    task = merged.tree["evaluation"]["tasks"][0]
    own = task.setdefault("params", {})
    extra = {**own.get("extra", {}), **params.get("extra", {})}
    own.update(params)
    if extra:
        own["extra"] = extra


def _endpoint(document: Document, task: Task) -> Endpoint:
    wanted = document.target.api_endpoint
    if wanted.adapter_config:
        raise NotBuiltError("adapter_config", where="target.api_endpoint.adapter_config")
    if not wanted.url:
        raise UsageError("no endpoint to evaluate", next_step="give --model_url http://HOST:PORT/v1")
    if not wanted.model_id:
        raise UsageError("no model to ask for", next_step="give --model_id, the name the endpoint serves")
    return endpoint_at(
        wanted.url,
        model_id=wanted.model_id,
        endpoint_type=endpoint_type_of(task, wanted.type),
        api_key_name=wanted.api_key_name,
    )
