"""The tasks of a harness image, from its labels: nothing is pulled and nothing runs."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

import docker
import docker.errors
import requests
from pydantic import ValidationError

from evaldock.catalogue_file import TaskRow
from evaldock.pins import ImagePin, candidates, local_platform, refuse_missing, resolve
from evaldock.registry import Registry, load_registry
from evaldock.supply.catalogue import BACKEND_LABEL, HARNESS_LABEL, HarnessLabel
from evaldock.supply.host import find_engine
from evaldock.supply.layout import blob_path
from evaldock.supply.layout_labels import labels_in_layout, labels_of_config
from evaldock.supply.lock import built_pins
from evaldock.supply.paths import image_store
from evaldock.supply.refusals import refusal
from evaldock.supply.skopeo import run_skopeo
from evaldock.visible_text import one_line
from evaldock_entrypoints.contract.errors import EvaldockError, ExecutionError, PinError, UsageError
from evaldock_entrypoints.contract.wording import reason

Labels = Mapping[str, str]

_TIMEOUT_S = 120.0


def tasks_of_image(reference: str) -> list[TaskRow]:
    """Return the tasks of an image; raises UsageError where it is no harness, and what finding it raises.

    reference: a name or alias of ours, oci:FOLDER[:NAME], docker://…, docker-daemon:…, or what the engine or
    else a registry knows.
    """
    labels = _labels(reference)
    if HARNESS_LABEL not in labels:
        kind = "a serving backend" if BACKEND_LABEL in labels else "no harness image of this kind"
        raise UsageError(
            f'the image "{reference}" has no tasks to list: it is {kind}',
            where=f"label {HARNESS_LABEL}",
            next_step="evaldock ls images names the harness images",
        )
    try:
        label = HarnessLabel.model_validate_json(labels[HARNESS_LABEL])
    except ValidationError as error:
        raise PinError(
            f"the image's list of tasks cannot be read: {reason(error)}",
            where=reference,
            next_step="it was built by another evaldock: ask who built it for a newer one",
        ) from error
    return _rows(label)


def _rows(label: HarnessLabel) -> list[TaskRow]:
    """Return the rows of a label, which any image may carry: what moves a cursor is made visible."""
    harness = one_line(label.name)
    return [
        TaskRow(
            name=f"{harness}.{one_line(task.name)}",
            harness=harness,
            task=one_line(task.name),
            endpoint_types=list(map(one_line, task.endpoint_types)),
            capabilities=list(map(one_line, task.capabilities)),
            licenses=list(map(one_line, task.data_licenses)),
            description=one_line(task.description),
        )
        for task in label.tasks
    ]


def _labels(reference: str) -> Labels:
    transport, colon, rest = reference.partition(":")
    match transport if colon else "":
        case "oci":
            folder, _, name = rest.partition(":")
            return labels_in_layout(Path(folder), name or None)
        case "docker":
            return _labels_in_registry(rest.removeprefix("//"))
        case "docker-daemon":
            return _labels_in_engine(rest)
        case _:
            return _labels_of_pin(reference, load_registry())


def _labels_of_pin(reference: str, registry: Registry) -> Labels:
    built, name = built_pins(), registry.image_name(reference)
    image = None if name else reference
    pin = resolve(name or reference, registry, built, local_platform(), image=image, allow_unpinned=True)
    refuse_missing([pin])
    if pin.image_id is not None:
        return _labels_in_store(pin.name, pin.image_id)
    with contextlib.suppress(EvaldockError):
        return _labels_in_engine(pin.reference)
    return _labels_in_registries(pin, registry)


def _labels_in_store(name: str, image_id: str) -> Labels:
    try:
        return labels_of_config(blob_path(image_store(), image_id).read_bytes())
    except FileNotFoundError as error:
        raise PinError(
            f'the image store does not hold the image "{name}" that images.lock pins',
            where=f"{image_store()}: {image_id}",
            next_step=f"evaldock build {name}",
        ) from error


def _labels_in_engine(reference: str) -> Labels:
    host = find_engine()
    if host is None:
        raise ExecutionError("no container engine answers", next_step="evaldock doctor")
    client = docker.DockerClient(base_url=host, timeout=int(_TIMEOUT_S))
    try:
        return client.images.get(reference).labels
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise ExecutionError(
            f'the engine has no image "{reference}": {error}',
            where=host,
            next_step="name it as the engine lists it, or as docker://… to ask its registry",
        ) from error
    finally:
        client.close()


def _labels_in_registries(pin: ImagePin, registry: Registry) -> Labels:
    errors = []
    for reference in candidates(pin, registry):
        try:
            return _labels_in_registry(reference)
        except (ExecutionError, PinError) as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    raise ExecutionError(
        f"no registry says what is in {pin.reference}",
        where="\n  ".join(str(error.where) for error in errors),
        next_step=errors[-1].next_step,
    )


def _labels_in_registry(reference: str) -> Labels:
    """Read the configuration alone; skopeo checks its digest and uses the caller's own logins."""
    argv = [*_settings(), "inspect", "--config", *_logins(), f"docker://{reference}"]
    done = run_skopeo(argv, timeout_s=_TIMEOUT_S, where=reference)
    if done.returncode == 0:
        return labels_of_config(done.stdout)
    found = refusal(reference, done.stderr)
    step = "log in (docker login REGISTRY)" if found.kind == "not authorised" else "check the reference"
    kind = PinError if found.kind == "other bytes" else ExecutionError
    raise kind(
        "the registry does not say what is in the image",
        where=str(found),
        next_step=step,
    )


def _settings() -> list[str]:
    """Return the flag for the variable by which buildah and podman take another registries.conf."""
    path = os.environ.get("CONTAINERS_REGISTRIES_CONF")
    return [f"--registries-conf={path}"] if path else []


def _logins() -> list[str]:
    """Return the flag for a docker configuration at a place of the caller's; skopeo finds the usual ones."""
    folder = os.environ.get("DOCKER_CONFIG")
    if not folder or os.environ.get("REGISTRY_AUTH_FILE"):
        return []
    path = Path(folder) / "config.json"
    return [f"--authfile={path}"] if path.is_file() else []
