"""A finished run as its folder tells it, read by runs.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from evaldock_entrypoints.contract.results import Completeness, Scalar

# unfinished: no results.yml yet. unreadable: there is one, and nothing in it may be believed
TaskStatus = Literal["complete", "incomplete", "failed", "interrupted", "unfinished", "unreadable"]

GRAVITY: tuple[TaskStatus, ...] = (
    "unreadable",
    "failed",
    "interrupted",
    "unfinished",
    "incomplete",
    "complete",
)


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """One metric. A partial one is a figure of what was scored, and not the task's score."""

    task: str  # the task, sub-task or group that it stands under
    name: str
    value: float
    stderr: float | None
    ci95: tuple[float, float] | None
    n: int
    method: str
    group: bool
    partial: bool


@dataclass(frozen=True, kw_only=True)
class TaskError:
    """Why a task has no result."""

    kind: str
    message: str
    exit_code: int | None = None
    where: str | None = None
    next_step: str | None = None


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """One part of the benchmark's data."""

    dataset: str
    config: str | None
    split: str | None
    records: int | None
    sha256: str | None
    license: str | None
    source: str | None


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a result comes from. Times are RFC 3339."""

    harness_version: str | None = None
    image_digest: str | None = None
    image_id: str | None = None
    image_origin: str | None = None
    seed: int | None = None
    data: tuple[DataRecord, ...] = ()
    facts: Mapping[str, Scalar] = field(default_factory=dict)
    sealed: bool | None = None  # whether a probe in the harness's container found no way out
    started_at: str | None = None
    ended_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """What was asked."""

    url: str | None = None
    model_id: str | None = None
    type: str | None = None


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What the adapter saw: times as percentiles in ms; None where nothing says."""

    samples: int
    requests: int | None
    cached: int | None
    retried: int | None
    latency_ms: Mapping[str, float] | None
    ttft_ms: Mapping[str, float] | None
    prompt_tokens: int | None
    completion_tokens: int | None
    finish_reasons: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class TaskRecord:
    """One task of a run. `name` is its folder's: harness.task."""

    name: str
    harness: str
    task: str
    path: Path
    status: TaskStatus
    completeness: Completeness | None = None
    metrics: tuple[MetricRow, ...] = ()
    reasons: tuple[str, ...] = ()  # why it is incomplete
    num_fewshot: int | None = None
    params: Mapping[str, Scalar] = field(default_factory=dict)
    extras: Mapping[str, Scalar] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    error: TaskError | None = None
    problems: tuple[str, ...] = ()  # files of it that could not be read
    endpoint: Endpoint = field(default_factory=Endpoint)
    provenance: Provenance = field(default_factory=Provenance)
    traffic: Traffic | None = None


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run: its merged document and its tasks in the document's order."""

    run_id: str
    path: Path
    document: Mapping[str, Any]
    tasks: tuple[TaskRecord, ...]
    problems: tuple[str, ...] = ()

    @property
    def status(self) -> TaskStatus:
        """The gravest of its tasks' statuses; unfinished where it has no task yet."""
        present = {task.status for task in self.tasks} or {"unfinished"}
        return next(status for status in GRAVITY if status in present)

    @property
    def model_id(self) -> str | None:
        return next((task.endpoint.model_id for task in self.tasks if task.endpoint.model_id), None)
