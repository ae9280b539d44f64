"""run.lock.yaml: every pin of a run and what it ran on. A later version may add keys."""

import hashlib
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from evaldock.engines.engine import Engine
from evaldock.executors.outcome import read_results
from evaldock.pins import ImagePin, local_platform
from evaldock.plan import EngineName, Plan
from evaldock_entrypoints.contract.target import Interceptor

_HASHED_BYTES = 4 * 1024**3  # a larger model is recorded by size; `evaldock model verify` is to hash it


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


class EngineFacts(_Open):
    """What ran the units. gpus: those seen inside, by the unit's name."""

    name: EngineName
    isolates: bool
    gpus: dict[str, list[str]]


class TaskFacts(_Open):
    """What stood between one task and its models. sealed: proven from inside; None: the task did not say."""

    sealed: bool | None
    chain: list[Interceptor]
    auxiliary: dict[str, list[Interceptor]]


class RunLock(_Open):
    """Every pin of a run. sealed: planned, on an engine that isolates."""

    run_id: str
    images: dict[str, ImagePin]
    model: ModelPin | None
    sealed: bool
    tasks: dict[str, TaskFacts]
    engine: EngineFacts
    host: HostFacts


def lock_of(plan: Plan, engine: Engine, gpus: Mapping[str, tuple[str, ...]]) -> RunLock:
    """Return the lock of a run that this engine carried out."""
    return RunLock(
        run_id=plan.run_id,
        images={name: engine.used(pin) for name, pin in plan.images.items()},
        model=_model_pin(plan),
        sealed=plan.sealed and engine.isolates,
        tasks=_task_facts(plan),
        engine=EngineFacts(
            name=engine.name,
            isolates=engine.isolates,
            gpus={unit: list(seen) for unit, seen in gpus.items()},
        ),
        host=HostFacts(
            platform=local_platform(),
            kernel=platform.release(),
            cpus=os.cpu_count(),
            python=platform.python_version(),
        ),
    )


def _task_facts(plan: Plan) -> dict[str, TaskFacts]:
    tasks = plan.adapter.settings.tasks if plan.adapter else {}
    return {
        name: TaskFacts(
            sealed=_was_sealed(Path(plan.run_dir) / name),
            chain=task.target.interceptors,
            auxiliary={role: model.interceptors for role, model in task.auxiliary.items()},
        )
        for name, task in tasks.items()
    }


def _was_sealed(folder: Path) -> bool | None:
    """Return what the task's results say of the way out of its container."""
    provenance = read_results(folder).get("provenance")
    network = provenance.get("network") if isinstance(provenance, dict) else None
    sealed = network.get("sealed") if isinstance(network, dict) else None
    return sealed if isinstance(sealed, bool) else None


def _model_pin(plan: Plan) -> ModelPin | None:
    if plan.server is None or not plan.server.unit.mounts:
        return None
    path = Path(plan.server.unit.mounts[0].source)
    if not path.is_file():
        return ModelPin(path=str(path))
    size = path.stat().st_size
    if size > _HASHED_BYTES:
        return ModelPin(path=str(path), size_bytes=size)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ModelPin(path=str(path), size_bytes=size, sha256=digest)
