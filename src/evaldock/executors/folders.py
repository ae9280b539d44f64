"""The run's own folder, made before anything is started."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evaldock.plan import ADAPTER_FOLDER, Plan, Unit
from evaldock.schema import schema_file
from evaldock.untrusted_folders import LedAstrayError, folder_below
from evaldock_entrypoints.contract.adapter import EXCHANGES, socket_folder
from evaldock_entrypoints.contract.errors import EvaldockError, ExecutionError, HarnessError, UsageError
from evaldock_entrypoints.contract.files import write_yaml
from evaldock_entrypoints.contract.layers import Merged

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def new_folders(plan: Plan, merged: Merged) -> Iterator[None]:
    """Make the run's folders; those that were not there before go again where the block raises.

    Raises UsageError where the folder cannot be written, ExecutionError where the disk is full.
    """
    root = Path(plan.run_dir)
    is_new = not root.exists()
    try:
        prepare_folders(plan, merged)
        yield
    except BaseException:
        if is_new:
            shutil.rmtree(root, ignore_errors=True)
        raise


def prepare_folders(plan: Plan, merged: Merged) -> None:
    """Make the folders that the plan's units write to, and run.yaml.

    Raises UsageError where the folder cannot be written, ExecutionError where the disk is full.
    """
    root = Path(plan.run_dir)
    try:
        for evaluation in plan.evaluations:
            (root / evaluation.folder).mkdir(parents=True, exist_ok=True)
            (root / evaluation.folder / EXCHANGES).mkdir(exist_ok=True)
            for unit in evaluation.units:
                refuse_links(unit, root / evaluation.folder)
        trusted = [unit for unit in plan.units if unit.role in ("adapter", "server")]
        for mount in (mount for unit in trusted for mount in unit.mounts):
            if not mount.read_only:
                Path(mount.source).mkdir(parents=True, exist_ok=True)
        if plan.adapter is not None:
            for task in plan.adapter.settings.tasks:
                _make_socket_folder(root / ADAPTER_FOLDER / socket_folder(task))
        root.mkdir(parents=True, exist_ok=True)
        write_yaml(root / "run.yaml", dict(plan.document), schema=schema_file("document"))
    except OSError as error:
        raise _unwritable(root, merged, error) from error


def refuse_links(unit: Unit, task_folder: Path) -> None:
    """Make the folders below the task's that the unit writes to.

    Raises HarnessError where an earlier unit has put a link in their place: an engine would follow it.
    """
    for source in (Path(mount.source) for mount in unit.mounts if not mount.read_only):
        try:
            with folder_below(task_folder, source.relative_to(task_folder)):
                pass
        except (LedAstrayError, PermissionError) as error:
            raise HarnessError(
                f"the harness has left something else in the place of a folder: {error}",
                where=str(source),
                next_step="look into logs/ for what made it, then start over in another output.dir",
            ) from error


def _make_socket_folder(folder: Path) -> None:
    """Make the folder through which a task's harness reaches the adapter: for this user alone."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)


def _unwritable(root: Path, merged: Merged, error: OSError) -> EvaldockError:
    place = merged.place(("output", "dir"))
    if error.errno in _FULL:
        free = shutil.disk_usage(next(parent for parent in root.parents if parent.exists())).free
        return ExecutionError(
            f"cannot write the run's folder: {error.strerror}",
            where=f"{place}: {root}, {free / 1024**2:.0f} MiB free",
            next_step="free some space, or name a folder on another disk: output.dir",
        )
    return UsageError(
        f"cannot create {root}: {error.strerror}", where=place, next_step="name a writable folder: output.dir"
    )
