"""One job: a task, its parameters, its endpoint and its folders."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.endpoint import Endpoint
from evaldock_entrypoints.contract.framework import DataSource, Framework, Phase, Task, native_part
from evaldock_entrypoints.contract.target import Interceptor

AUXILIARY_PARAMS = ("temperature", "top_p", "max_new_tokens", "parallelism")


@dataclass(frozen=True, kw_only=True)
class Auxiliary:
    """A further model that the task asks. params: those of sampling that the document sets for it."""

    endpoint: Endpoint
    params: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a harness folder's templates and results.py see."""

    framework: Framework
    task: Task
    params: dict[str, Any]  # limit_samples, parallelism, temperature, … merged
    extras: dict[str, Any]  # declared extras, merged
    endpoint: Endpoint  # the one under evaluation, as results record it
    chain: tuple[Interceptor, ...] = ()  # of the adapter before it
    auxiliary: Mapping[str, Auxiliary] = field(default_factory=dict)  # further models, by role
    reached: Mapping[str | None, Endpoint] = field(
        default_factory=dict
    )  # through the adapter, as the harness asks them; None: the one under evaluation
    repeat: int = 0  # which start of the harness this is, where it is started once per repeat
    output_dir: Path  # the task's own folder
    data_dir: Path  # the image's benchmark data, read-only
    mounted_data_dir: Path | None = None  # the user's, read-only, in place of the image's where both have it
    scratch_dir: Path | None = (
        None  # in a sandbox, where output_dir is read-only: work, logs and home go here
    )
    harness_dir: Path  # the harness folder inside the image, read-only
    manifest: list[dict[str, Any]] = field(
        default_factory=list
    )  # data manifest: dataset, config, split, records, sha256

    @property
    def phases(self) -> list[Phase]:
        """The processes of one start of the harness, in order."""
        return self.framework.phases_of(self.task)

    @property
    def starts(self) -> int:
        """How often the harness is started: once, or once per repeat."""
        return self.framework.starts(self.params)

    @property
    def native_dir(self) -> Path:
        """What the harness itself wrote, untouched."""
        return self.output_dir / native_part(self.starts, self.repeat)

    @property
    def work_dir(self) -> Path:
        """Files made for the harness (its configuration) and its caches."""
        if self.scratch_dir is None:
            return self.native_dir / "work"
        return self.scratch_dir / native_part(self.starts, self.repeat) / "work"

    @property
    def home_dir(self) -> Path:
        """The harness's writable home."""
        return self.work_dir / "home"

    @property
    def data_view(self) -> Path:
        """Where the harness finds its data: the image's folder, or links to that and to the user's."""
        return self.data_dir if self.mounted_data_dir is None else self.home_dir / "data"

    @property
    def logs_dir(self) -> Path:
        """The log of each phase."""
        folder = (self.scratch_dir or self.output_dir) / "logs"
        return folder if self.starts == 1 else folder / f"repeat-{self.repeat}"

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
        and entry.get("split") == source.split
        and source.config in ("*", entry["config"])
    )


def limited(count: int, limit: float | None) -> int:
    """Return how many of `count` items a limit leaves: a number of items, or a share below 1 (rounded up)."""
    if limit is None:
        return count
    return min(count, math.ceil(count * limit) if limit < 1 else int(limit))
