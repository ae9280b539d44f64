"""A task and what a request makes of it: parameters, extras, endpoint type."""

from typing import Any

from evaldock_entrypoints.contract.document import DEFAULT_PARAMS, Params
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.framework import EndpointType, Framework, Task
from evaldock_entrypoints.contract.loading import nearest


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
