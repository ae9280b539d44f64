"""From flags and a run configuration to one Job."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.document import DEFAULT_PARAMS, Document, Params
from evaldock_entrypoints.contract.endpoint import base_url, route_url
from evaldock_entrypoints.contract.errors import NotBuiltError, UsageError
from evaldock_entrypoints.contract.framework import EndpointType, Framework, Task
from evaldock_entrypoints.contract.loading import Layer, load_yaml, merge, nearest, override_layer, validate
from evaldock_entrypoints.run_eval.job import Endpoint, Job, read_manifest

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


def read_document(request: Request) -> Document:
    """Merge run configuration, flags and overrides into a document; raises UsageError."""
    layers = [Layer(tree={"evaluation": {"tasks": [request.eval_type]}}, name="--eval_type")]
    if request.run_config:
        layers.append(_only_this_task(load_yaml(request.run_config), request.eval_type))
    layers.append(_flag_layer(request.flags))
    layers.append(override_layer(split_overrides(request.overrides or ""), "--overrides"))
    return validate(Document, merge(layers))


def make_job(
    document: Document, request: Request, framework: Framework, *, harness_dir: Path, data_dir: Path
) -> Job:
    """Resolve the task, its parameters and its endpoint; raises UsageError."""
    task = find_task(framework, request.eval_type)
    wanted = document.evaluation.tasks[0].params
    params = merge_params(framework, task, document.evaluation.params, wanted)
    extras = merge_extras(framework, task, document.evaluation.params.extra, wanted.extra)
    data = Path(document.data.path) if document.data.path else data_dir
    return Job(
        framework=framework,
        task=task,
        params=params,
        extras=extras,
        endpoint=_endpoint(document, task),
        output_dir=request.output_dir,
        data_dir=data,
        harness_dir=harness_dir,
        manifest=read_manifest(data),
    )


def find_task(framework: Framework, name: str) -> Task:
    """Return the task of this name; raises UsageError with near matches."""
    task = framework.task(name)
    if task is None:
        raise UsageError(
            f'{framework.name} has no task "{name}"',
            next_step=nearest(name, (task.name for task in framework.tasks)),
        )
    return task


def merge_params(framework: Framework, task: Task, *requested: Params) -> dict[str, Any]:
    """Return the effective parameters: contract defaults < harness < task < document(s)."""
    params = DEFAULT_PARAMS | framework.params | task.params
    for layer in requested:
        params |= layer.model_dump(exclude={"extra"}, exclude_unset=True, exclude_none=True)
    return params


def merge_extras(framework: Framework, task: Task, *requested: dict[str, Any]) -> dict[str, Any]:
    """Return every declared extra with its value; raises UsageError on an undeclared or wrongly typed one."""
    extras = {name: extra.default for name, extra in framework.extras.items()} | task.extras
    for layer in requested:
        for name, value in layer.items():
            if name not in framework.extras:
                raise UsageError(
                    f'{framework.name} has no extra "{name}"',
                    where=f"evaluation.tasks[{task.name}].params.extra.{name}",
                    next_step=nearest(name, framework.extras),
                )
            extras[name] = _typed(framework, name, value)
    return extras


_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "bool": (bool,),
    "path": (str,),
}


def _typed(framework: Framework, name: str, value: Any) -> Any:
    declared = framework.extras[name].type
    is_wrong_bool = isinstance(value, bool) and declared != "bool"
    if is_wrong_bool or not isinstance(value, _PYTHON_TYPES[declared]):
        raise UsageError(
            f'the extra "{name}" is of type {declared}, not {value!r}', where=f"params.extra.{name}"
        )
    return value


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
    params = {name: flags[name] for name in _PARAM_FLAGS if flags.get(name) is not None}
    tree: dict[str, Any] = {}
    if endpoint:
        tree["target"] = {"api_endpoint": endpoint}
    if params:
        tree["evaluation"] = {"params": params}
    return Layer(tree=tree, name="flag")


def _endpoint(document: Document, task: Task) -> Endpoint:
    wanted = document.target.api_endpoint
    if wanted.adapter_config:
        raise NotBuiltError("adapter_config", where="target.api_endpoint.adapter_config")
    if not wanted.url:
        raise UsageError("no endpoint to evaluate", next_step="give --model_url http://HOST:PORT/v1")
    if not wanted.model_id:
        raise UsageError("no model to ask for", next_step="give --model_id, the name the endpoint serves")
    base = base_url(wanted.url)
    endpoint_type = endpoint_type_of(task, wanted.type)
    return Endpoint(
        base_url=base,
        url=route_url(base, endpoint_type),
        model_id=wanted.model_id,
        type=endpoint_type,
        api_key_name=wanted.api_key_name,
    )


def endpoint_type_of(task: Task, wanted: EndpointType | None) -> EndpointType:
    """Return the endpoint type to use; raises UsageError where the task cannot work with the wanted one."""
    if wanted is None:
        return task.endpoint_types[0]
    if wanted in task.endpoint_types:
        return wanted
    if wanted == "completions" and "completions_logprob" in task.endpoint_types:
        return "completions_logprob"  # the same route; whether it gives log-probabilities is probed
    needs = "log-probabilities" if "logprobs" in task.capabilities else " or ".join(task.endpoint_types)
    raise UsageError(
        f'task "{task.name}" needs {needs}, and endpoint type "{wanted}" cannot give them',
        where=f"target.api_endpoint.type: {wanted}",
        next_step=f"set type: {task.endpoint_types[0]}",
    )
