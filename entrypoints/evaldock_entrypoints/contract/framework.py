"""The models of framework.yml: what a harness folder declares."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.fields import Role
from evaldock_entrypoints.contract.vendor.wheel import Vendor
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

    type: Literal["int", "float", "str", "bool", "path", "any"]
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
    in_image: bool = True  # False: it must be mounted


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
    optional: bool = False  # only tasks that name it have it


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
    required_extras: list[str] = Field(default_factory=list)  # that a document must set
    phases: list[str] = Field(default_factory=list)  # by name; empty: all that are not optional
    default_fewshot: int | None = None  # shots the harness would use by itself
    fewshot_available: bool = True  # False: the few-shot records are not in the image
    primary_metric: str | None = None
    note: str | None = None  # a known footgun, shown beside the score

    @property
    def native_name(self) -> str:
        return self.native or self.name


class Kind(_Declared):
    """What all undeclared tasks of a kind have in common."""

    endpoint_types: list[EndpointType]
    capabilities: list[Capability] = Field(default_factory=list)
    phases: list[str] = Field(default_factory=list)


class Undeclared(_Declared):
    """Tasks that the harness knows beside those declared: see contract/undeclared.py for the file."""

    file: str  # in the harness's folder
    kinds: dict[str, Kind]
    note: str  # shown beside their scores


class Framework(_Declared):
    """A whole framework.yml."""

    framework: About
    vendor: Vendor | None = None  # the wheel whose own definition is the rest
    params: dict[str, Any] = Field(default_factory=dict)
    extras: dict[str, Extra] = Field(default_factory=dict)
    repeats: Literal["native", "runs"] = "runs"  # who repeats: the harness itself, or run_eval starts it anew
    phases: list[Phase]
    tasks: list[Task]
    undeclared: Undeclared | None = None

    @property
    def name(self) -> str:
        return self.framework.name

    @property
    def roles(self) -> set[str]:
        """Every further model that some task asks."""
        return {role for task in self.tasks for role in task.auxiliary}

    def phases_of(self, task: Task) -> list[Phase]:
        """Return the processes that make up a task, in order."""
        return [
            phase
            for phase in self.phases
            if (phase.name in task.phases if task.phases else not phase.optional)
        ]

    def starts(self, params: Mapping[str, Any]) -> int:
        """Return how often run_eval starts the harness: once, unless the repeats are left to run_eval."""
        return int(params.get("repeats", 1)) if self.repeats == "runs" else 1

    @model_validator(mode="after")
    def _tasks_name_what_is_declared(self) -> Self:
        known = {phase.name for phase in self.phases}
        required = {name for task in self.tasks for name in task.required_extras}
        if undeclared := required - set(self.extras):
            raise ValueError(f"required extras are not declared: {', '.join(sorted(undeclared))}")
        kinds = self.undeclared.kinds if self.undeclared else {}
        for name, named in [*((task.name, task.phases) for task in self.tasks), *_phases_of_kinds(kinds)]:
            if unknown := set(named) - known:
                raise ValueError(f"{name} names phases that are not there: {', '.join(sorted(unknown))}")
        return self

    def task(self, name: str) -> Task | None:
        """Return the task of this bare or harness-qualified name, if the harness has it."""
        bare = self.bare(name)
        return next((task for task in self.tasks if task.name == bare), None)

    def bare(self, name: str) -> str:
        """Return a task's name without this harness's own before it."""
        harness, dot, bare = name.partition(".")
        return bare if dot and harness.lower() in (self.name, *self.framework.aliases) else name


def _phases_of_kinds(kinds: Mapping[str, Kind]) -> list[tuple[str, list[str]]]:
    return [(f"undeclared.kinds.{name}", kind.phases) for name, kind in kinds.items()]


def native_part(starts: int, repeat: int) -> str:
    """Return where, below the task's folder, the harness writes natively at its start for a repeat."""
    return "native" if starts == 1 else f"native/repeat-{repeat}"


def load_framework(folder: Path) -> Framework:
    """Read framework.yml of a harness folder; raises HarnessError where it is missing or malformed."""
    path = folder / "framework.yml"
    try:
        return Framework.model_validate(_whole(yaml.safe_load(path.read_text(encoding="utf-8")), folder))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise HarnessError(
            f"the harness definition cannot be read: {reason(error)}",
            where=str(path),
            next_step="mend framework.yml; docs/adding-a-harness.md lists its keys",
        ) from error


def _whole(tree: Any, folder: Path) -> Any:
    """Return the keys of framework.yml, where it names a vendor's wheel with those of that wheel."""
    if not isinstance(tree, dict) or "vendor" not in tree:
        return tree
    from evaldock_entrypoints.contract.vendor.folder import expand  # brings a template engine along

    return expand(tree, folder)
