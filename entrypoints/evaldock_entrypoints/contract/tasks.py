"""A task and what a request makes of it: parameters, extras, endpoint type."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.framework import EndpointType, Framework, Task
from evaldock_entrypoints.contract.layers import NOWHERE, KeyPath, Merged
from evaldock_entrypoints.contract.params import DEFAULT_PARAMS, NEEDED_PARAMS, Params
from evaldock_entrypoints.contract.validation import nearest

EVERYWHERE: KeyPath = ("evaluation", "params")


@dataclass(frozen=True, kw_only=True)
class Value:
    """An effective value, and where it was set."""

    value: Any
    origin: str


@dataclass(frozen=True, kw_only=True)
class Requested:
    """Parameters that a document sets, and the path under which they stand in it."""

    params: Params
    path: KeyPath
    document: Merged = NOWHERE

    def origin(self, *keys: str) -> str:
        return self.document.origin((*self.path, *keys)) or "document"

    def place(self, *keys: str) -> str:
        return self.document.place((*self.path, *keys))


def find_task(framework: Framework, name: str, folder: Path) -> Task:
    """Return the task of this name, declared or not; raises UsageError with near matches.

    folder: where the list of the undeclared ones stands.
    """
    task = framework.task(name)
    if task is not None:
        return task
    bare, known = framework.bare(name), [task.name for task in framework.tasks]
    if framework.undeclared is not None:
        from evaldock_entrypoints.contract.undeclared import undeclared_names, undeclared_task

        listing = folder / framework.undeclared.file
        if (found := undeclared_task(framework, bare, listing)) is not None:
            return found
        known += undeclared_names(listing)
    raise UsageError(
        f'{framework.name} has no task "{name}"',
        where=f"--eval_type {name}",
        next_step=nearest(bare.rpartition(".")[2], known),
    )


def effective_params(framework: Framework, task: Task, *requested: Requested) -> dict[str, Value]:
    """Return every parameter: contract defaults < harness < task < document(s).

    Null unsets what lies below it; where a run cannot do without, it leads back to the contract's default.
    """
    values = {name: Value(value=value, origin="default") for name, value in DEFAULT_PARAMS.items()}
    values |= {name: Value(value=value, origin=framework.name) for name, value in framework.params.items()}
    owner = f"{framework.name}.{task.name}"
    values |= {name: Value(value=value, origin=owner) for name, value in task.params.items()}
    for layer in requested:
        for name in layer.params.model_fields_set - {"extra"}:
            value = getattr(layer.params, name)
            if value is None and name in NEEDED_PARAMS:
                value = DEFAULT_PARAMS[name]
            values[name] = Value(value=value, origin=layer.origin(name))
    return values


def effective_extras(framework: Framework, task: Task, *requested: Requested) -> dict[str, Value]:
    """Return every declared extra; raises UsageError on an undeclared or wrongly typed one."""
    owner = f"{framework.name}.{task.name}"
    values = {
        name: Value(value=extra.default, origin=framework.name) for name, extra in framework.extras.items()
    }
    values |= {name: Value(value=value, origin=owner) for name, value in task.extras.items()}
    for layer in requested:
        for name, value in _dotted(layer.params.extra, framework.extras):
            _refuse_undeclared(framework, layer, name)
            _refuse_wrong_type(framework, layer, name, value)
            values[name] = Value(value=value, origin=layer.origin("extra", *name.split(".")))
    for name in task.required_extras:
        if name not in values or values[name].value is None:
            raise UsageError(
                f'task "{task.name}" needs params.extra.{name}',
                where=requested[-1].place("extra") if requested else None,
                next_step=f"set it: {framework.extras[name].description}",
            )
    return values


def _dotted(
    tree: Mapping[str, Any], declared: Mapping[str, Any], path: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield each extra under its declared name: judge: {top_p: 1} is judge.top_p where that is declared."""
    for key, value in tree.items():
        name = f"{path}{key}"
        if isinstance(value, Mapping) and any(other.startswith(f"{name}.") for other in declared):
            yield from _dotted(value, declared, f"{name}.")
        else:
            yield name, value


def plain(values: Mapping[str, Value]) -> dict[str, Any]:
    """Return the values without their origins."""
    return {name: value.value for name, value in values.items()}


def _refuse_undeclared(framework: Framework, layer: Requested, name: str) -> None:
    if name not in framework.extras:
        raise UsageError(
            f'{framework.name} has no extra "{name}"',
            where=layer.place("extra", name),
            next_step=nearest(name, framework.extras),
        )


_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "str": ((str,), "text, in quotes where it looks like a number"),
    "bool": ((bool,), "true or false"),
    "path": ((str,), "a path"),
    "any": ((str, int, float, bool), "a number, a word, true or false"),
}


def _refuse_wrong_type(framework: Framework, layer: Requested, name: str, value: Any) -> None:
    declared = framework.extras[name]
    types, wanted = _KINDS[declared.type]
    is_wrong_bool = isinstance(value, bool) and declared.type not in ("bool", "any")
    if value is not None and (is_wrong_bool or not isinstance(value, types)):
        raise UsageError(
            f'the extra "{name}" is of type {declared.type}, not {value!r}',
            where=layer.place("extra", name),
            next_step=f"give {wanted}",
        )
    if value is not None and declared.choices and value not in declared.choices:
        raise UsageError(
            f'the extra "{name}" cannot be {value!r}',
            where=layer.place("extra", name),
            next_step=nearest(str(value), declared.choices),
        )


def endpoint_type_of(
    framework: Framework, task: Task, wanted: EndpointType | None, *, place: str | None = None
) -> EndpointType:
    """Return the endpoint type to use; raises UsageError where the task cannot work with the wanted one."""
    if wanted is None:
        return task.endpoint_types[0]
    if wanted in task.endpoint_types:
        return wanted
    if wanted == "completions" and "completions_logprob" in task.endpoint_types:
        return "completions_logprob"  # the same route; whether it gives log-probabilities is probed
    needs = "log-probabilities" if "logprobs" in task.capabilities else " or ".join(task.endpoint_types)
    twins = [
        other.name
        for other in framework.tasks
        if wanted in other.endpoint_types and other.name.startswith(task.name)
    ]
    other_task = f', or choose "{twins[0]}"' if twins else ""
    raise UsageError(
        f'task "{task.name}" of {framework.name} needs {needs}, and endpoint type "{wanted}" cannot give '
        f"{'them' if needs == 'log-probabilities' else 'it'}",
        where=f"{place or 'target.api_endpoint.type'}: {wanted}",
        next_step=f"set type: {task.endpoint_types[0]}{other_task}",
    )


def refuse_missing_shots(task: Task, num_fewshot: int | None, *, data_is_mounted: bool, place: str) -> None:
    """Raise UsageError where the task would need examples that are not at hand.

    num_fewshot None: the task's own number. place: where the number stands, or would.
    """
    count = task.default_fewshot if num_fewshot is None else num_fewshot
    if count and not task.fewshot_available and not data_is_mounted:
        raise UsageError(
            f'the few-shot examples of "{task.name}" ({count}{" by default" if num_fewshot is None else ""}) '
            "are not in this image",
            where=place,
            next_step="set params.extra.num_fewshot: 0, or mount the training split (data.path)",
        )


def refuse_missing_roles(task: Task, given: Collection[str], *, place: str) -> None:
    """Raise UsageError where the task asks a further model that the document does not name."""
    for role in task.auxiliary:
        if role not in given:
            raise UsageError(
                f'task "{task.name}" needs a further model: {role}',
                where=place,
                next_step=f"add target.auxiliary.{role}: {{url: http://HOST:PORT/v1, model_id: …}}",
            )
