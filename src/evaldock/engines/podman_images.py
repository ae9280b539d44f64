"""Making podman hold the images of a plan: from the store of what is built here, or from registries."""

from collections.abc import Iterable

from evaldock.engines.podman_command import PodmanCommand, PodmanError
from evaldock.pins import ImagePin, candidates
from evaldock.registry import load_registry
from evaldock.supply.load import copy_stored
from evaldock.supply.lock import LockedImage
from evaldock.supply.pull import first_given
from evaldock.supply.steps import Report
from evaldock_entrypoints.contract.errors import PinError

_PULL_TIMEOUT_S = 3600.0


def load_image(image: LockedImage, podman: PodmanCommand) -> None:
    """Make podman hold an image of the store; raises PinError when it is damaged, else ExecutionError."""
    if image_id(podman, image.image_id) is not None:
        return
    # A name without a host is completed by podman's own settings, perhaps to a registry's.
    copy_stored(image, f"containers-storage:localhost/{image.reference}")
    if image_id(podman, image.image_id) is None:
        raise PinError(
            f"podman took {image.reference} and does not hold the image that images.lock pins",
            where=f"pinned: {image.image_id}",
            next_step=f"run `evaldock build {image.name}` again, and ask who changed the image store",
        )


def pull_images(pins: Iterable[ImagePin], podman: PodmanCommand, *, report: Report) -> dict[str, str]:
    """Make podman hold every image of a registry; returns the image IDs by the pins' references.

    Raises PinError where a place served other bytes than the digest names, else ExecutionError.
    """
    wanted = {pin.reference: pin for pin in pins if pin.origin in ("registry", "unpinned")}
    if not wanted:
        return {}
    registry = load_registry()
    return {
        reference: image_id(podman, reference)
        or first_given(pin, candidates(pin, registry), lambda place: _pull(podman, place), report)
        for reference, pin in wanted.items()
    }


def image_id(podman: PodmanCommand, reference: str) -> str | None:
    """Return the ID of an image that podman holds under this name, digest or ID."""
    try:
        wanted = reference.removeprefix("sha256:")
        return f"sha256:{podman.output(['image', 'inspect', '--format={{.Id}}', wanted])}"
    except PodmanError:
        return None


def _pull(podman: PodmanCommand, reference: str) -> str:
    """Pull with the logins of podman's own configuration; it checks every digest."""
    pulled = podman.output(["pull", "--quiet", f"docker://{reference}"], timeout_s=_PULL_TIMEOUT_S)
    return f"sha256:{pulled.splitlines()[-1]}"
