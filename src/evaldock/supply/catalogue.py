"""What an image says about itself in its labels, taken from framework.yml or backend.yml."""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.framework import EndpointType, Framework, Task
from evaldock_entrypoints.contract.wording import reason

HARNESS_LABEL = "io.evaldock.harness"
BACKEND_LABEL = "io.evaldock.backend"


class Backend(BaseModel):
    """A whole backend.yml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    description: str
    source: str
    licenses: list[str]
    formats: list[str]  # of checkpoints it serves
    endpoint_types: list[EndpointType]
    gpus: str = "none"


class LabelledTask(BaseModel):
    """One task in a harness image's label; labels of other versions may say more."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    description: str = ""
    endpoint_types: list[str]
    capabilities: list[str] = Field(default_factory=list)
    primary_metric: str | None = None
    data_licenses: list[str] = Field(default_factory=list)


class HarnessLabel(BaseModel):
    """What the label io.evaldock.harness holds."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str
    version: str
    tasks: list[LabelledTask]


@dataclass(frozen=True, kw_only=True)
class SelfDescription:
    """The parts of an image's labels that its own folder gives."""

    version: str
    description: str
    licenses: str
    own: dict[str, str]


def load_backend(folder: Path) -> Backend:
    """Read backend.yml of a backend folder; raises UsageError where it is missing or malformed."""
    path = folder / "backend.yml"
    try:
        return Backend.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise UsageError(
            f"the backend definition cannot be read: {reason(error)}",
            where=str(path),
            next_step="mend it; `evaldock schema backend` prints its form",
        ) from error


def backend_labels(folder: Path) -> SelfDescription:
    """Return a backend image's labels."""
    backend = load_backend(folder)
    return SelfDescription(
        version=backend.version,
        description=backend.description,
        licenses=" AND ".join(backend.licenses),
        own={BACKEND_LABEL: _json(backend.model_dump(mode="json"))} | _source(backend.source),
    )


def harness_labels(framework: Framework) -> SelfDescription:
    """Return a harness image's labels; the tasks are readable from a registry without pulling the image."""
    about = framework.framework
    label = HarnessLabel(
        name=about.name, version=about.version, tasks=[_labelled(task) for task in framework.tasks]
    )
    return SelfDescription(
        version=about.version,
        description=about.description,
        licenses=about.license,
        own={HARNESS_LABEL: _json(label.model_dump(mode="json"))} | _source(about.source),
    )


def _labelled(task: Task) -> LabelledTask:
    return LabelledTask(
        name=task.name,
        description=task.description,
        endpoint_types=list(task.endpoint_types),
        capabilities=list(task.capabilities),
        primary_metric=task.primary_metric,
        data_licenses=sorted({source.license for source in task.data}),
    )


def _source(url: str) -> dict[str, str]:
    return {"org.opencontainers.image.source": url}


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
