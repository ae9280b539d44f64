"""The image under test: its pin, and an engine that holds it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import docker.errors
import requests

from evaldock.engines.engine import Engine
from evaldock.engines.podman_command import find_podman
from evaldock.engines.select import engine_for
from evaldock.pins import ImagePin, local_platform, refuse_missing, resolve
from evaldock.plan import EngineName, Executor, Plan, Server, Unit
from evaldock.registry import Registry
from evaldock.session import new_run_id
from evaldock.supply.host import find_engine
from evaldock.supply.layout_labels import ImageSettings, settings_of_config
from evaldock.supply.lock import built_pins
from evaldock.supply.steps import Report
from evaldock_entrypoints.contract.errors import ExecutionError, UsageError
from evaldock_entrypoints.contract.validation import nearest


def pin_of(image: str, registry: Registry) -> ImagePin:
    """Return the pin of an image of the catalogue, of one built here, or of any reference.

    Raises UsageError where it is no reference or no harness, PinError where nothing can run it.
    """
    built = built_pins()
    name = registry.image_name(image) or (image if image in built else None)
    if name in registry.images and name not in registry.harnesses:
        raise UsageError(
            f'"{image}" is no harness, and there is nothing to try on it',
            where="IMAGE",
            next_step=f"one of: {', '.join(sorted(registry.harnesses))}, or a reference",
        )
    if name is None and "/" not in image and "@" not in image:
        raise UsageError(
            f'"{image}" is no image of the catalogue and none that was built here',
            where="IMAGE",
            next_step=f"{nearest(image, registry.harnesses)}; a reference names its registry: HOST/NAME@…",
        )
    reference = None if name else image
    pin = resolve(name or image, registry, built, local_platform(), image=reference, allow_unpinned=True)
    refuse_missing([pin])
    return pin


@contextmanager
def holding(pin: ImagePin, engine: EngineName, folder: Path, report: Report) -> Iterator[Engine]:
    """Yield an engine that holds the image; raises as `engine_for`."""
    unit = Unit(name="conformance", role="evaluation", image=pin, argv=(), network="none")
    plan = Plan(
        run_id=new_run_id(),
        run_dir=str(folder),
        user=f"{os.getuid()}:{os.getgid()}",
        executor=Executor(type="local", settings={}),
        engine=engine,
        sealed=False,
        unsafe_code=False,
        time_limit_s=None,
        server=Server(unit=unit, probe=unit, readiness_timeout_s=0.0),  # the images that a plan needs
        adapter=None,
        evaluations=(),
        stops=(),
        document={},
    )
    with engine_for(plan, report) as opened:
        yield opened


def settings_in(engine: Engine, pin: ImagePin) -> ImageSettings:
    """Return what the image says of its containers; raises ExecutionError or PinError."""
    reference = (engine.used(pin).image_id or pin.reference).removeprefix("sha256:")
    if engine.name == "podman":
        config = find_podman().output(["image", "inspect", "--format={{json .Config}}", reference])
        return settings_of_config(f'{{"config": {config}}}')
    return ImageSettings.model_validate(_docker_config(reference))


def _docker_config(reference: str) -> object:
    host = find_engine()
    client = docker.DockerClient(base_url=host)
    try:
        return client.images.get(reference).attrs["Config"]
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise ExecutionError(
            f'the engine has no image "{reference}": {error}',
            where=host,
            next_step="name it as the engine lists it",
        ) from error
    finally:
        client.close()
