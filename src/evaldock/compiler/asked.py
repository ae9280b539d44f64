"""One task of the document: what it asks for, and what stops a run of it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from evaldock.compiler.inputs import Inputs
from evaldock.plan import Stop
from evaldock.registry import Registry
from evaldock_entrypoints.contract.document import TaskRequest
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.framework import EndpointType, Framework, Task
from evaldock_entrypoints.contract.layers import KeyPath, Merged
from evaldock_entrypoints.contract.tasks import (
    EVERYWHERE,
    Requested,
    Value,
    effective_extras,
    effective_params,
    endpoint_type_of,
    refuse_missing_roles,
    refuse_missing_shots,
)


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
