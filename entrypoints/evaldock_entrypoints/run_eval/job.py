"""One job: a task, its parameters, its endpoint and its folders."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.endpoint import Endpoint
from evaldock_entrypoints.contract.framework import DataSource, Framework, Task
from evaldock_entrypoints.contract.target import Interceptor


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a harness folder's templates and results.py see."""

    framework: Framework
    task: Task
    params: dict[str, Any]  # limit_samples, parallelism, temperature, … merged
    extras: dict[str, Any]  # declared extras, merged
    endpoint: Endpoint  # the one under evaluation, as results record it
    chain: tuple[Interceptor, ...] = ()  # of the adapter before it
    reached: Endpoint | None = None  # the same through the adapter, as the harness asks it
    output_dir: Path  # the task's own folder
    data_dir: Path  # benchmark data, read-only: the image's own, or a mounted folder
    data_is_mounted: bool = False
    scratch_dir: Path | None = (
        None  # in a sandbox, where output_dir is read-only: work, logs and home go here
    )
    harness_dir: Path  # the harness folder inside the image, read-only
    manifest: list[dict[str, Any]] = field(
        default_factory=list
    )  # data manifest: dataset, config, split, records, sha256

    @property
    def native_dir(self) -> Path:
        """What the harness itself wrote, untouched."""
        return self.output_dir / "native"

    @property
    def work_dir(self) -> Path:
        """Files made for the harness (its configuration) and its caches."""
        return (self.scratch_dir or self.native_dir) / "work"

    @property
    def logs_dir(self) -> Path:
        return (self.scratch_dir or self.output_dir) / "logs"

    @property
    def progress_file(self) -> Path:
        return (self.scratch_dir or self.output_dir) / "progress.json"

    def expected_items(self) -> int | None:
        """Return how many items the task asks, from data manifest and limit; None if not in the manifest."""
        counts = [
            entry["records"] for entry in self.manifest if any(_is_of(entry, s) for s in self.task.data)
        ]
        return sum(limited(count, self.params.get("limit_samples")) for count in counts) if counts else None


def _is_of(entry: dict[str, Any], source: DataSource) -> bool:
    return (
        source.role == "test"
        and entry["dataset"] == source.dataset
        and entry["split"] == source.split
        and source.config in ("*", entry["config"])
    )


def limited(count: int, limit: float | None) -> int:
    """Return how many of `count` items a limit leaves: a number of items, or a share below 1 (rounded up)."""
    if limit is None:
        return count
    return min(count, math.ceil(count * limit) if limit < 1 else int(limit))


def read_manifest(data_dir: Path) -> list[dict[str, Any]]:
    """Return the entries of the image's data manifest, empty where the image carries no data."""
    path = data_dir / "manifest.json"
    if not path.exists():
        return []
    entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["entries"]
    return entries
