"""The shape of results.yml as a JSON Schema. Further keys are allowed: a later version may add some."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from evaldock_entrypoints.contract.files import SchemaFile
from evaldock_entrypoints.contract.results import Completeness, Metric, Status

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Config(_Open):
    """What was asked for."""

    type: str
    harness: str


class _Scores(_Open):
    scores: dict[str, Metric]


class _Metrics(_Open):
    metrics: dict[str, _Scores]


class _Scored(_Open):
    """By task or group: the metrics, each with its value, error, interval and count."""

    tasks: dict[str, _Metrics]
    groups: dict[str, _Metrics]


class _Partial(_Scored):
    """What an unfinished task measured; no score."""

    reasons: list[str]
    missing: int


class _Error(_Open):
    """Why there is no result."""

    message: str
    exit_code: int


class _Results(_Open):
    """What a task measured."""

    named_schema: str = Field(alias="schema")
    status: Status
    config: _Config
    results: _Scored
    partial: _Partial | None = None
    completeness: Completeness | None = None
    error: _Error | None = None
    notes: list[str] = Field(default_factory=list)


def results_schema() -> dict[str, Any]:
    """Return the JSON Schema of results.yml."""
    return {"$schema": DIALECT, **_Results.model_json_schema(), "title": "results.yml"}


def results_schema_file() -> SchemaFile:
    """Return the file that stands beside results.yml."""
    return SchemaFile(name="results.v1", tree=results_schema())
