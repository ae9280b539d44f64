"""What a harness's results.py returns, and the records every run writes (contract, section 3)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from evaldock_entrypoints.contract.errors import EvaldockError

SCHEMA = "evaldock/results/v1"
# error.kind in results.yml, by exit code
ERROR_KINDS = {2: "usage", 3: "endpoint", 4: "harness", 7: "infra", 75: "interrupted"}
Status = Literal["complete", "incomplete", "failed", "interrupted"]
Scalar = str | int | float | bool | None


def error_record(error: EvaldockError) -> dict[str, Scalar]:
    """Return the `error` block of results.yml."""
    return {
        "kind": ERROR_KINDS.get(error.exit_code, "infra"),
        "exit_code": int(error.exit_code),
        "message": error.message,
        "where": error.where,
        "next": error.next_step,
    }


class SampleError(BaseModel):
    """Why a sample has no score: class (model, endpoint, harness, infra) and message."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["model", "endpoint", "harness", "infra"]
    message: str


class Sample(BaseModel):
    """One scored answer: the same fields for every harness."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str  # unique together with repeat; items of a group carry their sub-task: "mmlu_anatomy/12"
    repeat: int = 0
    prompt_hash: str | None = None
    request_keys: list[str] = Field(default_factory=list)
    response: str | None = None
    extracted_answer: str | None = None
    target: str | None = None
    scores: dict[str, float] = Field(default_factory=dict)
    correct: bool | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_ms: float | None = None
    error: SampleError | None = None


@dataclass(frozen=True, kw_only=True)
class MetricClaim:
    """A metric as the harness printed it, and how to compute it again from the samples."""

    task: str  # the task or group that it stands under
    name: str  # such as "acc" or "exact_match,strict-match"
    value: float | None  # None where the harness prints none; then it is ours alone
    stderr: float | None = None
    score: str | None = None  # key in Sample.scores; None: the harness's value stands, marked as its own
    within: str | None = None  # only samples whose id begins with this
    repeat: int | None = None  # only samples of this repeat; such a claim is compared and not reported
    method: Literal["mean", "pass@k", "harness"] = "mean"
    k: int = 1
    group: bool = False  # reported under results.groups
    pooled: bool = False  # its standard error is of the variance within the parts: ids up to their last "/"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What results.py read out of the native output, before anything is proven."""

    samples: Sequence[Sample]
    claims: Sequence[MetricClaim]
    totals: Sequence[int] = ()  # items of each part of the task by the harness's count, before any limit
    harness_version: str | None = None
    num_fewshot: int | None = None
    unproven: Sequence[str] = ()  # why these samples do not carry the claims, whatever their number
    notes: Sequence[str] = ()  # overrides and the like that a reader of the score must know
    facts: dict[str, Scalar] = field(default_factory=dict)


class Metric(BaseModel):
    """One reported metric."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    value: float
    stderr: float | None
    ci95: tuple[float, float] | None
    n: int
    method: str
    stats: dict[str, float | int | None] = Field(default_factory=dict)  # the incumbent's spelling


class Completeness(BaseModel):
    """The proof: counts of samples. None means that nothing in this run could count it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    expected: int
    scored: int
    errored: int
    truncated: int | None = None
    empty: int | None = None
    refused: int | None = None
    cached: int | None = None
    retried: int | None = None
