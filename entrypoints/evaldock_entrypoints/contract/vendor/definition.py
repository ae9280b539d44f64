"""The vendor's form of a definition: defaults, and evaluations laid over them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.wording import reason

Tree = dict[str, Any]


class _DatesAsText(yaml.SafeLoader):
    """Reads 2024-07-01 as the word that a command is to be given."""


_DatesAsText.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _About(_Read):
    name: str
    pkg_name: str
    description: str = ""


class _Params(_Read):
    """The vendor's own parameters; whatever is left out is null there."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    limit_samples: int | float | None = None
    max_new_tokens: int | None = None
    max_retries: int | None = None
    parallelism: int | None = None
    task: str | None = None
    temperature: float | None = None
    request_timeout: int | float | None = None
    top_p: float | None = None
    extra: Tree = Field(default_factory=dict)


class _Config(_Read):
    type: str
    supported_endpoint_types: list[str] = Field(default_factory=list)
    required_capabilities: list[str] = Field(default_factory=list)
    params: _Params = _Params()


class _Target(_Read):
    api_endpoint: Tree = Field(default_factory=dict)


class _Merged(_Read):
    command: str
    config: _Config
    target: _Target = _Target()


class _Evaluation(_Read):
    name: str
    description: str | list[str] = ""
    defaults: Tree


class _Whole(_Read):
    framework: _About
    defaults: Tree = Field(default_factory=dict)
    evaluations: list[_Evaluation]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One evaluation with the defaults under it."""

    name: str  # what --eval_type calls it; the vendor's `config.type`
    description: str
    command: str  # Jinja
    endpoint_types: tuple[str, ...]
    capabilities: tuple[str, ...]
    params: Mapping[str, Any]  # every one of the vendor's parameters but task and extra
    task: str | None
    extra: Tree
    endpoint: Tree  # defaults of target.api_endpoint


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A whole definition. package: below core_evals, where parse_output is."""

    package: str
    entries: tuple[Entry, ...]


def read_definition(text: str, where: str) -> Definition:
    """Return what a framework.yml of the vendor says; raises HarnessError where it has another form."""
    try:
        whole = _Whole.model_validate(yaml.load(text, _DatesAsText))
        entries = [_entry(one, merge(whole.defaults, one.defaults)) for one in whole.evaluations]
    except (yaml.YAMLError, ValidationError) as error:
        raise HarnessError(
            f"the vendor's definition cannot be read: {reason(error)}",
            where=where,
            next_step="pin a version of the wheel whose definition has the known form",
        ) from error
    return Definition(package=whole.framework.pkg_name, entries=tuple(entries))


def merge(below: Tree, above: Tree) -> Tree:
    """Lay one tree over another as the vendor does: mappings merge, and null changes nothing."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(under, dict) and isinstance(value, dict):
            merged[key] = merge(under, value)
        elif value is not None or key not in merged:
            merged[key] = value
    return merged


def _entry(evaluation: _Evaluation, tree: Tree) -> Entry:
    merged = _Merged.model_validate(tree)
    params = merged.config.params
    said = evaluation.description or evaluation.name
    return Entry(
        name=merged.config.type,
        description=" ".join((said if isinstance(said, str) else " ".join(said)).split()),
        command=merged.command,
        endpoint_types=tuple(merged.config.supported_endpoint_types),
        capabilities=tuple(merged.config.required_capabilities),
        params=params.model_dump(exclude={"task", "extra"}),
        task=params.task,
        extra=params.extra,
        endpoint=merged.target.api_endpoint,
    )
