"""What is under test: the image, what it says of itself, and the task that is tried on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evaldock.conformance.asking import Asker
from evaldock.conformance.image import settings_in
from evaldock.pins import ImagePin
from evaldock.registry import HarnessEntry, Registry
from evaldock.supply.catalogue import HARNESS_LABEL
from evaldock.untrusted_files import UnreadableFileError, read_json, read_yaml
from evaldock_entrypoints.contract.errors import HarnessError, UsageError
from evaldock_entrypoints.contract.framework import Framework, Task, load_framework
from evaldock_entrypoints.contract.validation import nearest
from evaldock_entrypoints.contract.vendor.folder import COPY
from evaldock_entrypoints.contract.wording import reason

HARNESS = "/opt/harness-files"
MANIFEST = "/opt/data/manifest.json"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An image with its own definition. user: as whom it runs by itself; label: its catalogue, as text."""

    pin: ImagePin
    user: str
    label: str | None
    framework: Framework
    task: Task

    @property
    def name(self) -> str:
        return f"{self.framework.name}.{self.task.name}"

    @property
    def has_sandbox(self) -> bool:
        """Whether the harness runs what the model wrote."""
        return any(phase.executes_model_code for phase in self.framework.phases)

    def registry(self, catalogue: Registry) -> Registry:
        """Return a catalogue of this image alone, by its own definition; raises HarnessError."""
        about = self.framework.framework
        entry = HarnessEntry(
            repository=self.framework.name,
            version=about.version,
            description=about.description,
            lock_sha256="",
            definition=self.framework,
        )
        harnesses = {self.framework.name: entry}
        try:
            return Registry(mirrors=catalogue.mirrors, harnesses=harnesses, adapters=catalogue.adapters)
        except ValidationError as error:
            raise _unfit(f"its harness cannot stand in a catalogue: {reason(error)}") from error


def read_subject(asker: Asker, task: str | None) -> Subject:
    """Read what the image says of itself; raises HarnessError where it says nothing that can be read.

    task: its name, None for the first whose data is in the image and that needs no extra.
    Raises UsageError where there is none.
    """
    settings = settings_in(asker.engine, asker.image)
    framework = _framework(asker)
    return Subject(
        pin=asker.image,
        user=settings.user,
        label=(settings.labels or {}).get(HARNESS_LABEL),
        framework=framework,
        task=_task(framework, _manifest(asker), task),
    )


def _framework(asker: Asker) -> Framework:
    """Read the image's definition, and the vendor's where it names one, as `run_eval` does."""
    folder = asker.folder / "definition"
    folder.mkdir()
    tree = _yaml(asker, folder, "framework.yml")
    if "vendor" in tree:
        _yaml(asker, folder, COPY)
    try:
        return load_framework(folder)
    except HarnessError as error:
        raise _unfit(error.message) from error


def _yaml(asker: Asker, folder: Path, name: str) -> dict[str, Any]:
    """Copy a YAML file of the harness's folder and return what it holds; raises HarnessError."""
    path = asker.copied(f"{HARNESS}/{name}", folder / name)
    if path is None:
        raise _unfit(f"it has no {name}")
    try:
        return read_yaml(path)
    except UnreadableFileError as error:
        raise _unfit(str(error)) from error


def _manifest(asker: Asker) -> dict[str, Any]:
    path = asker.copied(MANIFEST, asker.folder / "manifest.json")
    try:
        return read_json(path) if path else {}
    except UnreadableFileError as error:
        raise _unfit(str(error)) from error


def _unfit(what: str) -> HarnessError:
    return HarnessError(what, where=HARNESS, next_step="docs/adding-a-harness.md says what an image holds")


def _task(framework: Framework, manifest: Mapping[str, Any], wanted: str | None) -> Task:
    if wanted is not None:
        found = framework.task(wanted)
        if found is None:
            known = [task.name for task in framework.tasks]
            raise UsageError(
                f'the image has no task "{wanted}"', where="--task", next_step=nearest(wanted, known)
            )
        return found
    entries = manifest.get("entries", [])
    able = (task for task in framework.tasks if not task.required_extras)
    at_hand = [task for task in able if has_data(task, entries)]
    if not at_hand:
        raise UsageError(
            "no task of the image has its data in it",
            where=MANIFEST,
            next_step="such an image cannot be tried by itself; put one task's data into it",
        )
    return at_hand[0]


def has_data(task: Task, entries: Any) -> bool:
    """Tell whether the manifest has the records that the task asks; a task may declare none."""
    rows = [entry for entry in entries if isinstance(entry, dict)]
    held = {
        (row.get("dataset"), config, row.get("split")) for row in rows for config in (row.get("config"), "*")
    }
    asked = [source for source in task.data if source.role == "test"]
    return all((source.dataset, source.config, source.split) in held for source in asked)
