"""The shape of run.lock.yaml. Further keys are allowed: a later version may add some."""

from pydantic import BaseModel, ConfigDict

from evaldock.pins import ImagePin


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow", protected_namespaces=())


class ModelPin(_Open):
    """The served model: hashed where that takes seconds, else by its size."""

    path: str
    size_bytes: int | None = None
    sha256: str | None = None


class HostFacts(_Open):
    """The machine that the run was started on."""

    platform: str
    kernel: str
    cpus: int | None
    python: str


class RunLock(_Open):
    """Every pin of a run."""

    run_id: str
    images: dict[str, ImagePin]
    model: ModelPin | None
    sealed: bool
    host: HostFacts
