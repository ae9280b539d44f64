"""The image that an engine would run, compared with the pin of the plan."""

from collections.abc import Iterable, Mapping

from evaldock.pins import ImagePin
from evaldock_entrypoints.contract.errors import ExecutionError, PinError


def refuse_other_image(pin: ImagePin, image_id: str, repo_digests: Iterable[str]) -> None:
    """Raise PinError where the engine's image has neither the ID nor the digest of the pin."""
    digests = [reference.partition("@")[2] for reference in repo_digests]
    if pin.digest is None or image_id == pin.image_id or pin.digest in digests:
        return
    raise PinError(
        f'the image "{pin.name}" is not the one that is pinned',
        where=f"pinned {pin.digest}, the engine has {image_id} ({', '.join(digests) or 'no digest'})",
        next_step=f"evaldock build {pin.name}, or pull it again",
    )


def with_id(pin: ImagePin, image_ids: Mapping[str, str]) -> ImagePin:
    """Return the pin with its image's ID. image_ids: of pulled images, by the reference that pins them."""
    return pin.model_copy(update={"image_id": pin.image_id or image_ids.get(pin.reference)})


def no_image(pin: ImagePin, reference: str) -> ExecutionError:
    """Return the error of an image that the engine does not hold."""
    return ExecutionError(
        f'the engine has no image "{pin.name}" ({reference})', next_step=f"evaldock build {pin.name}"
    )
