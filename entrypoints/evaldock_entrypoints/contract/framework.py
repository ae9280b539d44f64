"""The models of framework.yml: what a harness folder declares."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.fields import Role
from evaldock_entrypoints.contract.wording import reason

EndpointType = Literal["chat", "completions", "completions_logprob", "embedding"]
Capability = Literal["logprobs", "tools", "tokenizer", "code_execution"]


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class About(_Declared):
    """The harness itself."""

    name: str
    version: str
    description: str
    source: str
    license: str
    aliases: list[str] = Field(default_factory=list)  # names that others call it by, before `.task`


class Extra(_Declared):
    """A harness parameter that users set under params.extra."""

    type: Literal["int", "float", "str", "bool", "path"]
    description: str
    default: str | int | float | bool | None = None
    choices: list[str] = Field(default_factory=list)  # of type str: what it may be; empty: anything


class DataSource(_Declared):
    """Records a task asks, as named in the image's data manifest. config "*" means every configuration."""

    dataset: str
    config: str = "default"
    split: str
    license: str
    role: Literal["test", "fewshot"] = "test"


class Phase(_Declared):
    """One process of the harness. argv, files and env are templates: see run_eval/template.py."""

    name: str
    argv: list[Any]
    files: dict[str, Any] = Field(default_factory=dict)
    env: dict[str, Any] = Field(default_factory=dict)
    network: Literal["endpoint", "replay", "none"] = "endpoint"  # replay: the store's answers, and no way out
    executes_model_code: bool = False
    writes: list[str] = Field(default_factory=list)  # folders below native/ that it may write in a sandbox
    progress: str | None = None  # regular expression over output lines with groups "done" and "total"


class Task(_Declared):
    """One task of a harness."""

    name: str
    description: str
    native: str | None = None  # the harness's own name where it differs
    endpoint_types: list[EndpointType]
    capabilities: list[Capability] = Field(default_factory=list)
    auxiliary: list[Role] = Field(default_factory=list)  # further models it asks, by their role in the target
    data: list[DataSource] = Field(default_factory=list)
    params: dict[str, Any] = Field(default_factory=dict)
    extras: dict[str, Any] = Field(default_factory=dict)  # values of declared extras
    default_fewshot: int | None = None  # shots the harness would use by itself
    fewshot_available: bool = True  # False: the few-shot records are not in the image
    primary_metric: str | None = None
    note: str | None = None  # a known footgun, shown beside the score

    @property
    def native_name(self) -> str:
        return self.native or self.name


class Framework(_Declared):
    """A whole framework.yml."""

    framework: About
    params: dict[str, Any] = Field(default_factory=dict)
    extras: dict[str, Extra] = Field(default_factory=dict)
    repeats: Literal["native", "runs"] = "runs"  # who repeats: the harness itself, or run_eval starts it anew
    phases: list[Phase]
    tasks: list[Task]

    @property
    def name(self) -> str:
        return self.framework.name

    def task(self, name: str) -> Task | None:
        """Return the task of this bare or harness-qualified name, if the harness has it."""
        harness, dot, bare = name.partition(".")
        if dot and harness.lower() in (self.name, *self.framework.aliases):
            name = bare
        return next((task for task in self.tasks if task.name == name), None)


def load_framework(folder: Path) -> Framework:
    """Read framework.yml of a harness folder; raises HarnessError where it is missing or malformed."""
    path = folder / "framework.yml"
    try:
        return Framework.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise HarnessError(
            f"the harness definition cannot be read: {reason(error)}",
            where=str(path),
            next_step="mend framework.yml; docs/adding-a-harness.md lists its keys",
        ) from error
