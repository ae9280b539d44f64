"""How an image's name becomes a pinned image, and where such an image is asked for."""

import platform
import re
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

from evaldock.registry import ADAPTER_IMAGE, Entry, Registry, without_tag
from evaldock_entrypoints.contract.deployment import DeploymentType
from evaldock_entrypoints.contract.errors import NotBuiltError, PinError, UsageError
from evaldock_entrypoints.contract.validation import nearest

Origin = Literal["built here", "registry", "unpinned", "missing", "host environment"]

NO_SUCH_BACKEND = "no image of this backend is built yet in this version"

# The grammar of https://github.com/distribution/reference, less what nobody writes.
_REFERENCE = re.compile(
    r"([a-zA-Z0-9][a-zA-Z0-9.-]*(:[0-9]+)?/)?[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*"
    r"(:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)


class ImagePin(BaseModel):
    """An image by what pins it. Only a plan that is not carried out may hold a missing one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str | None  # None: not known before the image is at hand
    reference: str  # REPOSITORY@digest, or REPOSITORY:TAG for what has none
    digest: str | None  # of the manifest
    image_id: str | None  # of the configuration; what an engine knows it by
    origin: Origin
    reason: str | None = None  # why it is missing


def local_platform() -> str:
    """Return this machine's platform as registries spell it."""
    machine = platform.machine().lower()
    return "linux/" + {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def resolve(
    name: str,
    registry: Registry,
    built: Mapping[str, ImagePin],
    on_platform: str,
    *,
    image: str | None = None,
    allow_unpinned: bool = False,
) -> ImagePin:
    """Return the pin of an image: as the user wrote it, else built here, else published, else missing.

    name: an image of the catalogue, an alias, or a backend of the contract. image: what the document names
    instead; a name of the catalogue or the reference of an image built here means that one.
    Raises UsageError for an unknown name, PinError for a tag alone without allow_unpinned.
    """
    owner = registry.image_name(name)
    if image is not None:
        if (found := _same_image(image, built)) is not None:
            return found
        if (other := registry.image_name(image)) is None:
            return _as_written(owner or name, image, allow_unpinned=allow_unpinned)
        owner = _same_kind(owner, other, registry)
    return _catalogued(owner or name, registry, built, on_platform)


def candidates(pin: ImagePin, registry: Registry) -> list[str]:
    """Return the references to try in order: each mirror's, then the repository's own."""
    if pin.origin not in ("registry", "unpinned"):
        return []
    mirrored = [mirror.rewrite(pin.reference) for mirror in registry.mirrors]
    return list(dict.fromkeys([*(reference for reference in mirrored if reference), pin.reference]))


def refuse_missing(pins: Iterable[ImagePin]) -> None:
    """Raise NotBuiltError or PinError for images that nothing can run."""
    for pin in pins:
        if pin.reason == NO_SUCH_BACKEND:
            raise NotBuiltError(f"an image of the backend {pin.name}", where=f"deployment.type: {pin.name}")
        if pin.origin == "missing":
            raise PinError(f'the image "{pin.name}" is {pin.reason}', next_step=f"evaldock build {pin.name}")


def _same_image(image: str, built: Mapping[str, ImagePin]) -> ImagePin | None:
    """Return the image built here that this reference means: by its own tag, or by its digest."""
    digest = image.partition("@")[2]
    return next((pin for pin in built.values() if image == pin.reference or digest == pin.digest), None)


def _as_written(name: str, image: str, *, allow_unpinned: bool) -> ImagePin:
    if not _REFERENCE.fullmatch(image):
        raise UsageError(
            f'"{image}" is not the reference of an image',
            next_step="name it as REGISTRY/REPOSITORY@sha256:…, or by its name or alias (evaldock ls images)",
        )
    digest = image.partition("@")[2]
    if not digest and not allow_unpinned:
        raise PinError(
            f'the image "{image}" is named by a tag, which can mean another image tomorrow',
            next_step="name it as REPOSITORY@sha256:…, or add --allow-unpinned: results are marked unpinned",
        )
    return ImagePin(
        name=name,
        version=None,
        reference=f"{without_tag(image)}@{digest}" if digest else image,
        digest=digest or None,
        image_id=None,
        origin="registry" if digest else "unpinned",
    )


def _same_kind(owner: str | None, other: str, registry: Registry) -> str:
    """Return other, where it can stand for owner: a harness for a harness, a backend for a backend."""
    kind = registry.images[owner].kind if owner else "backend"
    if registry.images[other].kind != kind:
        raise UsageError(
            f'"{other}" is the image of a {registry.images[other].kind}, and a {kind} is asked for',
            next_step="evaldock ls images",
        )
    return other


def _catalogued(name: str, registry: Registry, built: Mapping[str, ImagePin], on_platform: str) -> ImagePin:
    if name in built:
        return built[name]
    if name in registry.images:
        return _published(name, registry.images[name], on_platform)
    if name in get_args(DeploymentType):
        return _missing(name, None, name, NO_SUCH_BACKEND)
    if name == ADAPTER_IMAGE:
        return _missing(name, None, name, "neither built on this machine nor in this catalogue")
    raise UsageError(f'no image is called "{name}"', next_step=nearest(name, registry.images))


def _published(name: str, entry: Entry, on_platform: str) -> ImagePin:
    published = entry.published.get(on_platform)
    if published is None:
        reason = f"neither built on this machine nor published for {on_platform}"
        return _missing(name, entry.version, f"{entry.repository}:{entry.version}", reason)
    return ImagePin(
        name=name,
        version=entry.version,
        reference=f"{entry.repository}@{published.digest}",
        digest=published.digest,
        image_id=None,
        origin="registry",
    )


def _missing(name: str, version: str | None, reference: str, reason: str) -> ImagePin:
    return ImagePin(
        name=name,
        version=version,
        reference=reference,
        digest=None,
        image_id=None,
        origin="missing",
        reason=reason,
    )
