"""Loading a locally built image from the store into a container engine, verified by its image ID."""

from collections.abc import Sequence

import docker

from evaldock.supply.layout import is_complete, single_view
from evaldock.supply.lock import LockedImage
from evaldock.supply.paths import image_store
from evaldock.supply.skopeo import run_skopeo
from evaldock_entrypoints.contract.errors import ExecutionError, PinError

_COPY_TIMEOUT_S = 900.0


def load_image(image: LockedImage, docker_host: str) -> str:
    """Make the engine hold this image and return the image ID to run it by.

    Raises PinError when the engine has other bytes than images.lock pins, ExecutionError when copying fails.
    """
    client = docker.DockerClient(base_url=docker_host)
    try:
        if not _holds(client, image.image_id):
            copy_stored(
                image, f"docker-daemon:{image.reference}", options=[f"--dest-daemon-host={docker_host}"]
            )
        found = (
            client.images.get(image.reference).id if not _holds(client, image.image_id) else image.image_id
        )
    except docker.errors.ImageNotFound as error:
        raise ExecutionError(
            f"the engine took {image.reference} and does not show it",
            where=docker_host,
            next_step="see whether somebody removes images there (docker system prune), then try again",
        ) from error
    finally:
        client.close()
    if found != image.image_id:
        raise PinError(
            f"the image {image.name} in the engine is not the one that images.lock pins",
            where=f"engine: {found}\n  pinned: {image.image_id}",
            next_step=f"run `evaldock build {image.name}` again, and ask who changed the image store",
        )
    return image.image_id


def _holds(client: docker.DockerClient, image_id: str) -> bool:
    try:
        client.images.get(image_id)
    except docker.errors.ImageNotFound:
        return False
    return True


def copy_stored(image: LockedImage, destination: str, *, options: Sequence[str] = ()) -> None:
    """Copy an image out of the store; raises PinError when it is damaged there, ExecutionError otherwise."""
    if not is_complete(image_store(), image.digest):
        raise PinError(
            f'the image store does not hold the image "{image.name}" that images.lock pins',
            where=f"{image_store()}: {image.digest}",
            next_step=f"evaldock build {image.name}",
        )
    where = f"{image_store()} → {' '.join([*options, destination])}"
    # skopeo checks every blob against its digest on the way.
    with single_view(image_store(), image.digest) as view:
        argv = ["copy", "--quiet", *options, f"oci:{view}", destination]
        done = run_skopeo(argv, timeout_s=_COPY_TIMEOUT_S, where=where)
    if done.returncode == 0:
        return
    if "digest did not match" in done.stderr.lower():
        raise PinError(
            f"the stored image {image.name} is damaged: {done.stderr.strip()[-500:]}",
            where=where,
            next_step=f"delete the image store and run `evaldock build {image.name}`",
        )
    raise ExecutionError(
        f"skopeo could not load {image.reference}: {done.stderr.strip()[-500:]}",
        where=where,
        next_step="see that the engine runs and has room (evaldock doctor), then try again",
    )
