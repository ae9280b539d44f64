"""registry.yaml: the catalogue of images, and how a name becomes a pinned image."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evaldock_entrypoints.contract.document import DeploymentType
from evaldock_entrypoints.contract.errors import NotBuiltError, PinError, UsageError
from evaldock_entrypoints.contract.framework import EndpointType, Framework, Task
from evaldock_entrypoints.contract.loading import nearest

REGISTRY_FILE = "registry.yaml"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: str
    version: str
    description: str
    digests: dict[str, str] = Field(default_factory=dict)  # platform → manifest digest, once published
    lock_sha256: str
    aliases: list[str] = Field(default_factory=list)


class HarnessEntry(_Entry):
    """A harness image. `definition` is framework.yml without its command templates."""

    definition: Framework


class BackendEntry(_Entry):
    """A serving backend's image."""

    endpoint_types: list[EndpointType]
    formats: list[str]
    gpus: str = "none"


class Registry(BaseModel):
    """The whole catalogue."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mirrors: list[dict[str, str]] = Field(default_factory=list)
    default_harness: dict[str, str] = Field(default_factory=dict)  # task → harness, where several have it
    harnesses: dict[str, HarnessEntry] = Field(default_factory=dict)
    backends: dict[str, BackendEntry] = Field(default_factory=dict)

    @cached_property
    def tasks(self) -> list[tuple[str, Task]]:
        """Every (harness, task)."""
        return [(name, task) for name, entry in self.harnesses.items() for task in entry.definition.tasks]

    def find_task(self, name: str) -> tuple[str, Task]:
        """Return (harness, task) of `task` or `harness.task`; raises UsageError with near matches."""
        harness, _, bare = name.partition(".")
        if bare and harness in self.harnesses:
            task = self.harnesses[harness].definition.task(bare)
            candidates = [(harness, task)] if task else []
        else:
            candidates = [(owner, task) for owner, task in self.tasks if task.name == name]
        if len(candidates) > 1:
            candidates = [
                pair for pair in candidates if pair[0] == self.default_harness.get(name)
            ] or candidates
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            spellings = ", ".join(f"{owner}.{name}" for owner, _ in candidates)
            raise UsageError(
                f'several harnesses have the task "{name}"', next_step=f"write one of: {spellings}"
            )
        known = [task.name for _, task in self.tasks] + [f"{owner}.{task.name}" for owner, task in self.tasks]
        raise UsageError(f'no harness has the task "{name}"', next_step=nearest(name, known))


Origin = Literal["built here", "registry", "unpinned", "missing"]

NO_SUCH_BACKEND = "no image of this backend is built yet in this version"


class ImagePin(BaseModel):
    """An image by what pins it. Only a plan that is not carried out may hold a missing one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str | None  # None: not known before the image is at hand
    reference: str  # for people
    digest: str | None  # of the manifest
    image_id: str | None  # of the configuration; what an engine knows it by
    origin: Origin
    reason: str | None = None  # why it is missing


def registry_path() -> Path:
    """Return where the catalogue stands: in the package when installed, else in the checkout."""
    packaged = Path(__file__).parent / REGISTRY_FILE
    return packaged if packaged.is_file() else Path(__file__).resolve().parents[2] / REGISTRY_FILE


def load_registry(path: Path | None = None) -> Registry:
    """Read the catalogue; raises PinError if it is missing or malformed."""
    path = path or registry_path()
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return Registry.model_validate(yaml.load(path.read_bytes(), Loader=loader))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise PinError(f"the catalogue cannot be read: {error}", where=str(path)) from error


def resolve(name: str, registry: Registry, built: Mapping[str, ImagePin], platform: str) -> ImagePin:
    """Return the pin of an image: built here first, else published, else missing.

    Raises UsageError for a name that is neither an image of the catalogue nor a backend of the contract.
    """
    if name in built:
        return built[name]
    entry = registry.harnesses.get(name) or registry.backends.get(name)
    if entry is not None:
        return _published(name, entry, platform)
    if name in get_args(DeploymentType):
        return _missing(name, None, name, NO_SUCH_BACKEND)
    raise UsageError(
        f'no image is called "{name}"', next_step=nearest(name, {**registry.harnesses, **registry.backends})
    )


def refuse_missing(pins: Iterable[ImagePin]) -> None:
    """Raise NotBuiltError or PinError for images that nothing can run."""
    for pin in pins:
        if pin.reason == NO_SUCH_BACKEND:
            raise NotBuiltError(f"an image of the backend {pin.name}", where=f"deployment.type: {pin.name}")
        if pin.origin == "missing":
            raise PinError(f'the image "{pin.name}" is {pin.reason}', next_step=f"evaldock build {pin.name}")


def _published(name: str, entry: _Entry, platform: str) -> ImagePin:
    digest = entry.digests.get(platform)
    if digest is None:
        reason = f"neither built on this machine nor published for {platform}"
        return _missing(name, entry.version, f"{entry.repository}:{entry.version}", reason)
    return ImagePin(
        name=name,
        version=entry.version,
        reference=f"{entry.repository}@{digest}",
        digest=digest,
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
