"""registry.yaml: the catalogue of published images, and what a site lays over it."""

from collections.abc import Iterator
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evaldock.catalogue_file import further_tasks, read_tree, registry_path, site_path
from evaldock_entrypoints.contract.errors import PinError, UsageError
from evaldock_entrypoints.contract.framework import EndpointType, Framework, Task
from evaldock_entrypoints.contract.layers import merge
from evaldock_entrypoints.contract.reader import load_yaml
from evaldock_entrypoints.contract.undeclared import undeclared_names, undeclared_task
from evaldock_entrypoints.contract.validation import as_usage_error, nearest
from evaldock_entrypoints.contract.wording import reason

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Prefix = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._:/-]*$")]
Alias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._/-]*$")]

_SECTIONS = ("harnesses", "backends", "adapters")
ADAPTER_IMAGE = "entrypoints"  # what is in every image, and by itself the adapter
_OURS = ("base", ADAPTER_IMAGE)  # images that the others are built on


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Mirror(_Declared):
    """A rewrite of references: what begins with from_prefix is asked for under to_prefix first."""

    from_prefix: Prefix = Field(alias="from")
    to_prefix: Prefix = Field(alias="to")

    def rewrite(self, reference: str) -> str | None:
        """Return the reference at this mirror; None where the prefix is not its own whole components."""
        start = self.from_prefix.rstrip("/")
        rest = reference.removeprefix(start)
        is_port = rest.startswith(":") and "/" in rest
        if not reference.startswith(start) or not rest.startswith(("/", "@", ":")) or is_port:
            return None
        return self.to_prefix.rstrip("/") + rest


class Published(_Declared):
    """One platform's image as a release published it."""

    digest: Digest  # of the manifest
    size_bytes: int | None = None  # compressed, all layers
    base_digest: Digest | None = None  # of the base image's manifest
    sbom_digest: Digest | None = None  # no release makes one yet


class _Entry(_Declared):
    repository: str
    aliases: list[Alias] = Field(default_factory=list)
    version: str
    description: str
    lock_sha256: str  # of requirements.lock
    published: dict[str, Published] = Field(default_factory=dict)  # by platform


class HarnessEntry(_Entry):
    """A harness image. `definition` is framework.yml without its command templates."""

    kind: Literal["harness"] = "harness"
    definition: Framework


class BackendEntry(_Entry):
    """A serving backend's image."""

    kind: Literal["backend"] = "backend"
    endpoint_types: list[EndpointType]
    formats: list[str]
    gpus: str = "none"


class AdapterEntry(_Entry):
    """The image that the adapter runs from."""

    kind: Literal["adapter"] = "adapter"


Entry = HarnessEntry | BackendEntry | AdapterEntry


class Site(_Declared):
    """registry.yaml of a user or site: laid over whichever catalogue is used."""

    mirrors: list[Mirror] = Field(default_factory=list)  # tried before the catalogue's
    default_harness: dict[str, str] = Field(default_factory=dict)
    digests: dict[str, dict[str, Digest]] = Field(default_factory=dict)  # image → platform → digest


class Registry(_Declared):
    """The whole catalogue."""

    mirrors: list[Mirror] = Field(default_factory=list)
    default_harness: dict[str, str] = Field(default_factory=dict)  # task → harness, where several have it
    harnesses: dict[str, HarnessEntry] = Field(default_factory=dict)
    backends: dict[str, BackendEntry] = Field(default_factory=dict)
    adapters: dict[str, AdapterEntry] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_mean_one_image(self) -> Self:
        owners: dict[str, str] = {name: name for name in _OURS if name not in self.adapters}
        for called, owner in self._called():
            if called in owners:
                raise ValueError(f'"{called}" means two images: {owners[called]} and {owner}')
            owners[called] = owner
        for name in self.default_harness.values():
            if name not in self.harnesses:
                raise ValueError(f'default_harness names "{name}", which is no harness of the catalogue')
        return self

    @cached_property
    def tasks(self) -> list[tuple[str, Task]]:
        """Every (harness, task)."""
        return [(name, task) for name, entry in self.harnesses.items() for task in entry.definition.tasks]

    @cached_property
    def images(self) -> dict[str, Entry]:
        """Every image by its name."""
        return {**self.harnesses, **self.backends, **self.adapters}

    def image_name(self, called: str) -> str | None:
        """Return the name of the image that a name, an alias or a vendor's reference means.

        A vendor's reference ends with an alias of several components; host and tag may be there or not.
        Capitals do not matter. What is named by digest is never an alias.
        """
        if "@" in called:
            return None
        if (owner := self._owners.get(called.lower())) is not None:
            return owner
        parts = without_tag(called.lower()).split("/")
        ends = ("/".join(parts[start:]) for start in range(len(parts) - 1))
        return next((self._owners[end] for end in ends if end in self._owners), None)

    def find_task(self, name: str) -> tuple[str, Task]:
        """Return (harness, task) of `task` or `harness.task`; raises UsageError with near matches."""
        candidates = self._tasks_called(name)
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
        raise UsageError(f'no harness has the task "{name}"', next_step=self._nearest_tasks(name))

    def over(self, site: Site) -> "Registry":
        """Return the catalogue with a site's settings over it; raises ValueError for unknown names."""
        tree = self.model_dump(by_alias=True)
        for name, digests in site.digests.items():
            owner = self.image_name(name)
            if owner is None:
                raise ValueError(f'digests names "{name}", which is no image of the catalogue')
            section = next(tree[name] for name in _SECTIONS if owner in tree[name])
            section[owner]["published"] |= {key: {"digest": digest} for key, digest in digests.items()}
        tree["mirrors"] = [mirror.model_dump(by_alias=True) for mirror in site.mirrors] + tree["mirrors"]
        tree["default_harness"] |= {
            task: self.image_name(harness) or harness for task, harness in site.default_harness.items()
        }
        return Registry.model_validate(tree)

    @cached_property
    def _owners(self) -> dict[str, str]:
        return dict(self._called())

    def _called(self) -> Iterator[tuple[str, str]]:
        for section in (self.harnesses, self.backends, self.adapters):
            for name, entry in section.items():
                yield from ((called, name) for called in (name, *entry.aliases))

    def _nearest_tasks(self, name: str) -> str:
        known = {spelling for owner, task in self.tasks for spelling in (task.name, f"{owner}.{task.name}")}
        known |= set(self._undeclared_names(name))
        if get_close_matches(name, known, n=1):
            return nearest(name, known)
        return "evaldock ls tasks shows every task"

    def _undeclared_names(self, name: str) -> list[str]:
        """Return what the harness before the dot knows besides, each as it would be written."""
        prefix = name.partition(".")[0]
        harness = self._owners.get(prefix.lower(), "")
        entry = self.harnesses.get(harness)
        if entry is None or entry.definition.undeclared is None:
            return []
        listing = further_tasks(harness, entry.definition.undeclared.file)
        return [f"{prefix}.{task}" for task in undeclared_names(listing)]

    def _undeclared(self, harness: str, bare: str) -> Task | None:
        definition = self.harnesses[harness].definition
        if definition.undeclared is None:
            return None
        return undeclared_task(definition, bare, further_tasks(harness, definition.undeclared.file))

    def _tasks_called(self, name: str) -> list[tuple[str, Task]]:
        prefix, _, bare = name.partition(".")
        harness = self._owners.get(prefix.lower(), "")
        if bare and harness in self.harnesses:
            definition = self.harnesses[harness].definition
            task = definition.task(bare) or self._undeclared(harness, bare)
            return [(harness, task)] if task else []
        return [(owner, task) for owner, task in self.tasks if task.name == name]


def without_tag(reference: str) -> str:
    """Return the repository of a reference; a colon before the last slash is a registry's port."""
    repository = reference.partition("@")[0]
    head, colon, tag = repository.rpartition(":")
    return head if colon and "/" not in tag else repository


def load_registry(path: Path | None = None, site: Path | None = None) -> Registry:
    """Read the catalogue and what the site lays over it; raises PinError or UsageError."""
    path, site = path or registry_path(), site or site_path()
    registry = _validated(Registry, read_tree(path), path)
    if not site.exists():
        return registry
    settings = _validated(Site, read_tree(site, "mend or remove this file") or {}, site)
    try:
        return registry.over(settings)
    except ValueError as error:
        raise PinError(
            f"the site's settings do not fit the catalogue: {reason(error)}",
            where=str(site),
            next_step="mend or remove that name; a catalogue's own names stand in it",
        ) from error


_Model = TypeVar("_Model", bound=BaseModel)


def _validated(model: type[_Model], tree: Any, path: Path) -> _Model:
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        said = _refusal(model, tree, path, error)
        raise PinError(
            f"the catalogue cannot be read: {said.message}", where=said.where, next_step=said.next_step
        ) from error


def _refusal(model: type[BaseModel], tree: Any, path: Path, error: ValidationError) -> UsageError:
    """Return what is wrong with its line: the file is read again, slowly, by the reader that knows lines."""
    try:
        said = as_usage_error(model, merge([load_yaml(path)]), error)
    except UsageError as refused:
        said = refused
    if not isinstance(tree, dict):
        said.next_step = f"begin with one of: {', '.join(model.model_fields)}"
    said.where = said.where if str(path) in (said.where or "") else f"{path}  {said.where or ''}".rstrip()
    return said
