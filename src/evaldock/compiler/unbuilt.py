"""What a document asks for that this version plans but does not carry out; and contradictions."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from evaldock.compiler.inputs import Inputs, is_hub_id
from evaldock.plan import Stop
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.execution import KEYS_OF_TYPES
from evaldock_entrypoints.contract.layers import KeyPath


def unbuilt_parts(inputs: Inputs) -> tuple[Stop, ...]:
    """Return every part of the document that a run would have to refuse."""
    return (*_execution(inputs), *_target(inputs), *_deployment(inputs), *_rest(inputs))


def _execution(inputs: Inputs) -> Iterator[Stop]:
    execution = inputs.document.execution
    if execution.type != "local":
        yield _part(
            inputs, f"execution.type: {execution.type}", "local runs on this machine", "execution", "type"
        )
    if execution.network == "sealed" and execution.engine == "host":
        what = "execution.network cannot be sealed on engine host: nothing isolates a process there"
        step = "choose the engine docker or podman"
        yield replace(_part(inputs, what, step, "execution", "network"), is_unbuilt=False)


def _target(inputs: Inputs) -> Iterator[Stop]:
    if inputs.document.target.auxiliary and inputs.deploys:
        yield _part(
            inputs,
            "target.auxiliary beside a deployment (the adapter would need two networks)",
            "serve the model by itself (evaldock deploy), and name its address: target.api_endpoint.url",
            *("target", "auxiliary"),
        )


def _deployment(inputs: Inputs) -> Iterator[Stop]:
    deployment = inputs.document.deployment
    if not inputs.deploys:
        return
    if deployment.replicas > 1:
        yield _part(inputs, "deployment.replicas above 1", "set it to 1", "deployment", "replicas")
    if deployment.num_nodes > 1:
        yield _part(inputs, "deployment.num_nodes above 1", "set it to 1", "deployment", "num_nodes")
    if deployment.command is not None:
        yield _part(inputs, "deployment.command", "remove it", "deployment", "command")
    if deployment.model_path and is_hub_id(deployment.model_path):
        yield _part(
            inputs,
            f'fetching the model "{deployment.model_path}" from a hub',
            "download it and name its folder, or ./FOLDER/NAME if that is a path",
            *("deployment", "model_path"),
        )


def _rest(inputs: Inputs) -> Iterator[Stop]:
    document = inputs.document
    if document.export:
        yield _part(inputs, "export", "remove it; results.yml and summary.json are always written", "export")


def _part(inputs: Inputs, what: str, step: str, *path: str) -> Stop:
    section: Any = inputs.merged.tree
    for part in path:
        section = section.get(part) if isinstance(section, dict) else None
    shown = str(section).lower() if isinstance(section, bool) else section
    value = f": {shown}" if isinstance(shown, str | int) else ""
    return Stop(what=what, where=inputs.place(*path) + value, next_step=step)


def refuse_contradictions(inputs: Inputs) -> None:
    """Raise UsageError for keys that mean nothing beside the others."""
    kind = inputs.document.execution.type
    for key, kinds in KEYS_OF_TYPES.items():
        if inputs.is_written("execution", key) and kind not in kinds:
            raise _meaningless(
                inputs, f"execution.{key}", f"execution.type: {kind}", " or ".join(sorted(kinds))
            )
    if inputs.is_written("deployment", "resource_shape") and kind != "lepton":
        raise _meaningless(inputs, "deployment.resource_shape", f"execution.type: {kind}", "lepton")
    if not inputs.deploys:
        for key in inputs.document.deployment.model_fields_set - {"type"}:
            raise UsageError(
                f"deployment.{key} means nothing without a deployment",
                where=inputs.place("deployment", key),
                next_step="set deployment.type, or remove it",
            )
    if inputs.document.deployment.type == "generic" and not inputs.document.deployment.image:
        raise UsageError(
            "a deployment of type generic needs an image",
            where=inputs.place("deployment", "type"),
            next_step="add deployment.image, by digest",
        )
    if inputs.document.execution.engine == "host":
        _refuse_images(inputs)


def _refuse_images(inputs: Inputs) -> None:
    """Raise UsageError for an image that stands for none of ours: engine host would run something else."""
    images: dict[KeyPath, str | None] = {("deployment", "image"): inputs.document.deployment.image}
    for index, task in enumerate(inputs.document.evaluation.tasks):
        images["evaluation", "tasks", index, "image"] = task.image
    for path, image in images.items():
        if image is not None and inputs.registry.image_name(image) is None:
            raise UsageError(
                "engine host runs no images: it makes environments from this checkout",
                where=f"{inputs.place(*path)}: {image}",
                next_step="leave the image out, or use docker or podman",
            )


def _meaningless(inputs: Inputs, key: str, beside: str, kinds: str) -> UsageError:
    return UsageError(
        f"{key} means nothing beside {beside}",
        where=inputs.place(*key.split(".")),
        next_step=f"remove it, or set execution.type: {kinds}",
    )
