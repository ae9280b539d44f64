"""The images of a document's plan, by name and pinned."""

from collections.abc import Mapping
from dataclasses import dataclass

from evaldock.compiler.asked import find
from evaldock.pins import ImagePin, resolve
from evaldock.registry import ADAPTER_IMAGE, Registry
from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.errors import EvaldockError, UsageError
from evaldock_entrypoints.contract.layers import KeyPath, Merged


@dataclass(frozen=True, kw_only=True)
class Resolving:
    """What turns an image's name into a pin."""

    registry: Registry
    built: Mapping[str, ImagePin]
    platform: str
    allow_unpinned: bool = False


def pins_for(document: Document, merged: Merged, resolving: Resolving) -> dict[str, ImagePin]:
    """Return the pin of every image that the plan will use; raises UsageError or PinError with the place."""
    images = needed_images(document, merged, resolving.registry)
    return {name: _pin(name, image, merged, resolving) for name, image in images.items()}


def _pin(name: str, image: str | None, merged: Merged, resolving: Resolving) -> ImagePin:
    try:
        return resolve(
            name,
            resolving.registry,
            resolving.built,
            resolving.platform,
            image=image,
            allow_unpinned=resolving.allow_unpinned,
        )
    except EvaldockError as error:
        if error.where is None and image is not None:
            error.where = f"{merged.place(_written_at(image, merged))}: {image}"
        raise


def _written_at(image: str, merged: Merged) -> KeyPath:
    """Return the key under which the document names this image."""
    deployment = merged.tree.get("deployment")
    if isinstance(deployment, dict) and deployment.get("image") == image:
        return ("deployment", "image")
    tasks = merged.tree["evaluation"]["tasks"]
    named = [
        index for index, task in enumerate(tasks) if isinstance(task, dict) and task.get("image") == image
    ]
    return ("evaluation", "tasks", named[0], "image")


def needed_images(document: Document, merged: Merged, registry: Registry) -> dict[str, str | None]:
    """Return the images that a document's plan uses: name → the reference that the document itself gives.

    Raises UsageError for an unknown task, and for two images of one harness.
    """
    images: dict[str, str | None] = {}
    if document.evaluation.tasks:
        images[ADAPTER_IMAGE] = None
    if document.deployment.type != "none":
        images[document.deployment.type] = document.deployment.image
    for index, request in enumerate(document.evaluation.tasks):
        harness = find(registry, merged, request, index)[0]
        if images.setdefault(harness, request.image) != request.image:
            both = " and ".join(image or "the pinned one" for image in (images[harness], request.image))
            raise UsageError(
                f'two tasks of "{harness}" ask for two images: {both}',
                where=merged.place(("evaluation", "tasks", index, "image")),
                next_step="name one image at every task of this harness, or compare images in two runs",
            )
    return images
