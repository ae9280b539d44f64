"""One `evaldock run`: document → plan → engine → results."""

import datetime
import hashlib
import os
import platform
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaldock.analysis.report import write_report
from evaldock.analysis.summary import write_summary
from evaldock.compiler import Surroundings, compile_plan, needed_images
from evaldock.engines.select import engine_for
from evaldock.executors.local import Events, LocalExecutor
from evaldock.executors.outcome import TaskEnd
from evaldock.plan import Plan
from evaldock.registry import ImagePin, Registry, load_registry, refuse_missing, resolve
from evaldock.supply.lock import LockedImage, read_lock
from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.files import write_yaml

_HASHED_BYTES = 4 * 1024**3  # a larger model is recorded by size; `evaldock model verify` is to hash it


def new_run_id() -> str:
    """Return an id that sorts by time and does not collide."""
    now = datetime.datetime.now(datetime.UTC)
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def local_platform() -> str:
    """Return this machine's platform as registries spell it."""
    machine = platform.machine().lower()
    return "linux/" + {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def pin_of(image: LockedImage) -> ImagePin:
    """Return the pin of an image that was built here."""
    return ImagePin(
        name=image.name,
        version=image.version,
        reference=image.reference,
        digest=image.digest,
        image_id=image.image_id,
        origin="built here",
    )


def make_plan(
    document: Document,
    tree: Mapping[str, Any],
    *,
    run_id: str,
    registry: Registry | None = None,
) -> Plan:
    """Resolve the images and compile the document; raises UsageError, NotBuiltError or PinError."""
    registry = registry or load_registry()
    built = {name: pin_of(image) for name, image in read_lock().images.items()}
    names = needed_images(document, registry)
    pins = {name: resolve(name, registry, built, local_platform()) for name in names}
    around = Surroundings(
        run_id=run_id,
        run_dir=str(Path(document.output.dir).absolute() / run_id),
        user=f"{os.getuid()}:{os.getgid()}",
        working_dir=str(Path.cwd()),
    )
    return compile_plan(document, tree, registry, pins, around)


def refuse_missing_inputs(plan: Plan) -> None:
    """Raise UsageError for a path that the document names and that does not exist."""
    for mount in (mount for unit in plan.units for mount in unit.mounts):
        inside = Path(mount.source).is_relative_to(plan.run_dir)
        if not inside and not Path(mount.source).exists():
            raise UsageError(f"{mount.source} does not exist", next_step="check the path in the document")


def execute(plan: Plan, events: Events) -> list[TaskEnd]:
    """Carry the plan out on this machine and write summary and report; raises EvaldockError."""
    refuse_missing(plan.images.values())
    refuse_missing_inputs(plan)
    with engine_for(plan, events.step) as engine:
        executor = LocalExecutor(plan=plan, engine=engine, events=events, environ=os.environ)
        try:
            return executor.run()
        finally:
            write_records(plan)


def write_records(plan: Plan) -> None:
    """Write run.lock.yaml, summary.json and report.html, where the run got as far as having a folder."""
    run_dir = Path(plan.run_dir)
    if not (run_dir / "run.yaml").is_file():
        return
    write_yaml(
        run_dir / "run.lock.yaml", lock_tree(plan), header="# evaldock/run-lock/v1, written by evaldock run\n"
    )
    write_summary(run_dir)
    write_report(run_dir)


def lock_tree(plan: Plan) -> dict[str, Any]:
    """Return every pin of the run."""
    return {
        "run_id": plan.run_id,
        "images": {name: pin.model_dump() for name, pin in plan.images.items()},
        "model": _model_pin(plan),
        "sealed": plan.sealed,
        "host": {
            "platform": local_platform(),
            "kernel": platform.release(),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
        },
    }


def _model_pin(plan: Plan) -> dict[str, Any] | None:
    if plan.server is None:
        return None
    path = Path(plan.server.unit.mounts[0].source)
    if not path.is_file():
        return {"path": str(path)}
    size = path.stat().st_size
    if size > _HASHED_BYTES:
        return {"path": str(path), "size_bytes": size}
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": str(path), "size_bytes": size, "sha256": digest}
