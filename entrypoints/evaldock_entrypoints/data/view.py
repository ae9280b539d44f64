"""The data a task finds: what the image carries, and over it what a user mounts."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from evaldock_entrypoints.contract.framework import Task
from evaldock_entrypoints.data.manifest import Entry, read_manifest, sha256_of


def mounted_datasets(mounted: Path | None, task: Task) -> list[str]:
    """Return those data sets of the task that the user's folder holds."""
    names = dict.fromkeys(source.dataset for source in task.data)
    return [name for name in names if (mounted / name).is_dir()] if mounted else []


def manifest_of(task: Task, built_in: Path, mounted: Path | None) -> list[Entry]:
    """Return what the task's folder holds: the image's entries, and for each mounted data set that one's.

    A mounted data set without entries of its own gets one per file, with its hash and without a count.
    """
    replaced = mounted_datasets(mounted, task)
    kept = [entry for entry in read_manifest(built_in) if entry["dataset"] not in replaced]
    if mounted is None:
        return kept
    described = [entry for entry in read_manifest(mounted) if entry["dataset"] in replaced]
    bare = set(replaced) - {entry["dataset"] for entry in described}
    return [*kept, *described, *(entry for name in sorted(bare) for entry in _hashed(mounted, name))]


def lay_out(folder: Path, built_in: Path, mounted: Path, datasets: Iterable[str]) -> None:
    """Fill a folder with links to the image's data and, in their place, to the mounted data sets."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    whole = {*datasets, *(entry["dataset"] for entry in (*read_manifest(built_in), *read_manifest(mounted)))}
    _link(folder, [mounted, built_in], whole, prefix="")


def _link(folder: Path, sources: list[Path], whole: set[str], prefix: str) -> None:
    """Link what the sources hold, the first one's before the others'; the owner of data sets is a folder."""
    for name in sorted({child.name for source in sources if source.is_dir() for child in source.iterdir()}):
        holders = [source / name for source in sources if (source / name).exists()]
        is_owner = any(dataset.startswith(f"{prefix}{name}/") for dataset in whole)
        if is_owner and len(holders) > 1:
            (folder / name).mkdir()
            _link(folder / name, holders, whole, f"{prefix}{name}/")
        else:
            (folder / name).symlink_to(holders[0])


def _hashed(mounted: Path, dataset: str) -> Iterator[Entry]:
    for path in sorted((mounted / dataset).rglob("*")):
        if path.is_file():
            yield {
                "dataset": dataset,
                "path": str(path.relative_to(mounted)),
                "sha256": sha256_of(path),
                "source": "mounted",
            }
