"""What a Python program says to be evaluated, with NeMo Evaluator's names, and what it is told in the end."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from evaldock_entrypoints.contract.errors import (
    BY_EXIT_CODE,
    EvaldockError,
    HarnessError,
    IncompleteError,
    UsageError,
)
from evaldock_entrypoints.contract.fields import Strict
from evaldock_entrypoints.contract.params import Params
from evaldock_entrypoints.contract.results import Completeness, Status
from evaldock_entrypoints.contract.target import ApiEndpoint, AuxiliaryEndpoint


class EndpointType:
    """The types of endpoints, for programs that write them as `EndpointType.CHAT`."""

    CHAT: Final[Literal["chat"]] = "chat"
    COMPLETIONS: Final[Literal["completions"]] = "completions"
    COMPLETIONS_LOGPROB: Final[Literal["completions_logprob"]] = "completions_logprob"
    EMBEDDING: Final[Literal["embedding"]] = "embedding"


class ConfigParams(Params):
    """Parameters of the task; what is not set is the task's own default."""

    task: str | None = None  # a second name of the task, which must be the same


class EvaluationConfig(Strict):
    """What is evaluated. output_dir: inside an image the task's own folder, on a host the one for runs."""

    type: str | None = None  # `task` or `harness.task`
    output_dir: str | Path | None = None
    params: ConfigParams | None = None
    supported_endpoint_types: list[str] | None = None  # taken for compatibility: every task declares its own
    required_capabilities: list[str] | None = None  # likewise


class EvaluationTarget(Strict):
    """Who is evaluated. auxiliary: further models that the task asks, by role."""

    api_endpoint: ApiEndpoint | None = None
    auxiliary: dict[str, AuxiliaryEndpoint] = Field(default_factory=dict)


class _Told(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class ScoreStats(_Told):
    """Statistics of a score; None where nothing says."""

    count: int | None = None
    sum: float | None = None
    sum_squared: float | None = None
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    variance: float | None = None
    stddev: float | None = None
    stderr: float | None = None


class Score(_Told):
    """One number, with its error, its 95 % interval and how many samples it is made of."""

    value: float
    stderr: float | None = None
    ci95: tuple[float, float] | None = None
    n: int
    method: str
    stats: ScoreStats = Field(default_factory=ScoreStats)


class MetricResult(_Told):
    """The scores of a metric, by name."""

    scores: dict[str, Score]


class TaskResult(_Told):
    """The metrics of a task, by name."""

    metrics: dict[str, MetricResult] = Field(default_factory=dict)


class GroupResult(TaskResult):
    """The metrics of a group of tasks, by name."""


class PartialResult(_Told):
    """What an incomplete task measured. None of it is a score: questions are missing, and not at random."""

    reasons: list[str] = Field(default_factory=list)
    missing: int = 0  # samples
    tasks: dict[str, TaskResult] = Field(default_factory=dict)
    groups: dict[str, GroupResult] = Field(default_factory=dict)


class EvaluationResult(_Told):
    """What came of an evaluation. tasks and groups hold proven scores only."""

    status: Status
    tasks: dict[str, TaskResult] = Field(default_factory=dict)
    groups: dict[str, GroupResult] = Field(default_factory=dict)
    completeness: Completeness | None = None
    partial: PartialResult | None = None
    notes: list[str] = Field(default_factory=list)
    folder: Path  # with results.yml and all else


def document_tree(eval_cfg: EvaluationConfig, target_cfg: EvaluationTarget) -> dict[str, Any]:
    """Return the document of an evaluation: what was not set is left out."""
    return {
        "config": eval_cfg.model_dump(mode="json", exclude_unset=True),
        "target": target_cfg.model_dump(mode="json", exclude_unset=True),
    }


def refuse_other_threads() -> None:
    """Raise UsageError beside the main thread: an evaluation ends in order on SIGTERM, by a handler."""
    if threading.current_thread() is not threading.main_thread():
        raise UsageError(
            "evaluate() needs the main thread, which alone is told of signals",
            where="evaluate()",
            next_step="call it there, or in a process of its own",
        )


def concluded(results: Mapping[str, Any], folder: Path, *, accept_incomplete: bool) -> EvaluationResult:
    """Return what results.yml says; raises IncompleteError, or the error that it records.

    accept_incomplete: an incomplete result is returned, its figures below `partial` and nowhere else.
    """
    told = results.get("error")
    if told is not None or not results:
        raise _recorded(told, folder)
    found = EvaluationResult.model_validate({**results, **results.get("results", {}), "folder": folder})
    if found.status != "complete" and not accept_incomplete:
        reasons = found.partial.reasons if found.partial else []
        raise IncompleteError(
            f"the evaluation is {found.status}: {'; '.join(reasons) or 'no reason is given'}",
            where=str(folder),
            next_step="mend the cause and call again on the same folder, or accept_incomplete=True: "
            "then .partial holds what was measured",
        )
    return found


def _recorded(told: Any, folder: Path) -> EvaldockError:
    """Return the error that results.yml records, as its class."""
    if not isinstance(told, dict):
        return HarnessError("the task left no results", where=str(folder), next_step="read logs/ there")
    kind = BY_EXIT_CODE.get(told.get("exit_code", 0), EvaldockError)
    return kind(str(told.get("message")), where=told.get("where") or str(folder), next_step=told.get("next"))
