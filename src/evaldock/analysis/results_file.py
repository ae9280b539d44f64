"""The models of results.yml and metrics.json as the host reads them: unknown keys pass, wrong ones do not."""

from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from evaldock.analysis.records import (
    DataRecord,
    Endpoint,
    MetricRow,
    Provenance,
    TaskError,
    TaskRecord,
    TaskStatus,
    Traffic,
)
from evaldock.untrusted_files import AbsentFileError, UnreadableFileError, read_json, read_yaml
from evaldock.visible_text import without_credentials
from evaldock_entrypoints.contract.results import SCHEMA, Completeness, Scalar, Status

_Plain = str | int | FiniteFloat | bool | None
Model = TypeVar("Model", bound=BaseModel)
_RESULTS_FILE = "results.yml"


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


class _Score(_Read):
    value: FiniteFloat
    stderr: FiniteFloat | None = None
    ci95: tuple[FiniteFloat, FiniteFloat] | None = None
    n: int
    method: str = ""


class _Scores(_Read):
    scores: dict[str, _Score]


class _Metrics(_Read):
    metrics: dict[str, _Scores] = Field(default_factory=dict)


class _Results(_Read):
    tasks: dict[str, _Metrics] = Field(default_factory=dict)
    groups: dict[str, _Metrics] = Field(default_factory=dict)

    def rows(self, *, partial: bool) -> tuple[MetricRow, ...]:
        return tuple(
            MetricRow(task=task, name=name, group=group, partial=partial, **score.model_dump())
            for group, trees in ((True, self.groups), (False, self.tasks))
            for task, tree in trees.items()
            for scores in tree.metrics.values()
            for name, score in scores.scores.items()
        )


class _Partial(_Results):
    reasons: list[str] = Field(default_factory=list)


class _Config(_Read):
    params: dict[str, _Plain | dict[str, _Plain]] = Field(default_factory=dict)

    def plain_params(self) -> dict[str, Scalar]:
        return {name: value for name, value in self.params.items() if not isinstance(value, dict)}

    def extras(self) -> dict[str, Scalar]:
        extra = self.params.get("extra")
        return dict(extra) if isinstance(extra, dict) else {}


class _Endpoint(_Read):
    url: str | None = None
    model_id: str | None = None
    type: str | None = None


class _Target(_Read):
    api_endpoint: _Endpoint = Field(default_factory=_Endpoint)


class _Error(_Read):
    kind: str = "harness"
    exit_code: int | None = None
    message: str
    where: str | None = None
    next: str | None = None


class _Data(_Read):
    dataset: str
    config: str | None = None
    split: str | None = None
    records: int | None = None
    sha256: str | None = None
    license: str | None = None
    source: str | None = None


class _Network(_Read):
    sealed: bool | None = None


class _Provenance(_Read):
    harness_version: str | None = None
    image_digest: str | None = None
    image_id: str | None = None
    image_origin: str | None = None
    seed: int | None = None
    num_fewshot: int | None = None
    data: list[_Data] = Field(default_factory=list)
    facts: dict[str, _Plain] = Field(default_factory=dict)
    network: _Network | None = None
    started_at: str | None = None
    ended_at: str | None = None


class _ResultsFile(_Read):
    schema_: str = Field(alias="schema")
    status: Status
    config: _Config = Field(default_factory=_Config)
    target: _Target = Field(default_factory=_Target)
    results: _Results = Field(default_factory=_Results)
    partial: _Partial = Field(default_factory=_Partial)
    completeness: Completeness | None = None
    provenance: _Provenance = Field(default_factory=_Provenance)
    notes: list[str] = Field(default_factory=list)
    error: _Error | None = None

    @model_validator(mode="after")
    def _is_proven(self) -> Self:
        if self.schema_ != SCHEMA:
            raise ValueError(f"its schema is {self.schema_[:80]!r}, and this version reads {SCHEMA}")
        counts = self.completeness
        if self.status == "complete" and (
            counts is None or counts.errored or counts.scored != counts.expected
        ):
            raise ValueError("it says complete, and its own counts do not prove that")
        return self


class _Traffic(_Read):
    samples: int
    requests: int | None = None
    cached: int | None = None
    retried: int | None = None
    latency_ms: dict[str, FiniteFloat] | None = None
    ttft_ms: dict[str, FiniteFloat] | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reasons: dict[str, int] = Field(default_factory=dict)


def read_task(folder: Path) -> TaskRecord:
    """Return the task in a folder `harness.task`; what cannot be read stands in status and problems."""
    try:
        file = _validated(_ResultsFile, folder / _RESULTS_FILE, read_yaml(folder / _RESULTS_FILE))
    except AbsentFileError:
        return _without_results(
            folder, "unfinished", "it has no results.yml: it still runs, or it was killed"
        )
    except UnreadableFileError as error:
        return _without_results(folder, "unreadable", str(error))
    traffic, problems = _traffic(folder)
    return _record(folder, file, traffic, problems)


def _record(
    folder: Path, file: _ResultsFile, traffic: Traffic | None, problems: tuple[str, ...]
) -> TaskRecord:
    harness, _, task = folder.name.partition(".")
    is_whole = file.status == "complete"
    return TaskRecord(
        name=folder.name,
        harness=harness,
        task=task,
        path=folder,
        status=file.status,
        completeness=file.completeness,
        metrics=file.results.rows(partial=False) if is_whole else file.partial.rows(partial=True),
        reasons=tuple(file.partial.reasons),
        num_fewshot=file.provenance.num_fewshot,
        params=file.config.plain_params(),
        extras=file.config.extras(),
        notes=tuple(file.notes),
        error=_error(file.error) if file.error else None,
        problems=problems,
        endpoint=_endpoint(file.target.api_endpoint),
        provenance=_provenance(file.provenance),
        traffic=traffic,
    )


def _without_results(folder: Path, status: TaskStatus, problem: str) -> TaskRecord:
    harness, _, task = folder.name.partition(".")
    return TaskRecord(
        name=folder.name, harness=harness, task=task, path=folder, status=status, problems=(problem,)
    )


def _validated(model: type[Model], path: Path, tree: dict[str, Any]) -> Model:
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = f"{where}: {first['msg']}" if where else first["msg"].removeprefix("Value error, ")
        raise UnreadableFileError(f"{path.name} cannot be believed: {what}") from error


def _traffic(folder: Path) -> tuple[Traffic | None, tuple[str, ...]]:
    path = folder / "metrics.json"
    try:
        return Traffic(**_validated(_Traffic, path, read_json(path)).model_dump()), ()
    except AbsentFileError:
        return None, ()
    except UnreadableFileError as error:
        return None, (str(error),)


def _error(error: _Error) -> TaskError:
    return TaskError(
        kind=error.kind,
        exit_code=error.exit_code,
        message=without_credentials(error.message),
        where=without_credentials(error.where) if error.where else None,
        next_step=without_credentials(error.next) if error.next else None,
    )


def _endpoint(endpoint: _Endpoint) -> Endpoint:
    url = without_credentials(endpoint.url) if endpoint.url else None
    return Endpoint(url=url, model_id=endpoint.model_id, type=endpoint.type)


def _provenance(provenance: _Provenance) -> Provenance:
    fields = provenance.model_dump(exclude={"num_fewshot", "data", "network"})
    data = tuple(DataRecord(**entry.model_dump()) for entry in provenance.data)
    return Provenance(data=data, sealed=provenance.network.sealed if provenance.network else None, **fields)
