"""Reads what a user wrote (files, -o overrides, flags) into one validated document."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaldock.registry import Registry
from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import Layer, Merged
from evaldock_entrypoints.contract.overrides import override_layer
from evaldock_entrypoints.contract.reader import load_yaml
from evaldock_entrypoints.contract.reading import Read, read
from evaldock_entrypoints.contract.validation import validate

NO_FLAGS = Layer(tree={}, name="flag")


@dataclass(frozen=True, kw_only=True)
class Written:
    """A validated document, and its tree as the run records it, with the origin of every value."""

    document: Document
    merged: Merged


def find_config(config_dir: Path, name: str) -> Path:
    """Return the file of --config-dir and --config-name, with or without its ending; raises UsageError."""
    candidates = [config_dir / name, config_dir / f"{name}.yaml", config_dir / f"{name}.yml"]
    for path in candidates:
        if path.is_file():
            return path
    if not config_dir.is_dir():
        raise UsageError(
            f"there is no folder {config_dir}", where=f"--config-dir {config_dir}", next_step="check the path"
        )
    there = ", ".join(sorted(path.stem for path in config_dir.glob("*.y*ml"))) or "no YAML file"
    raise UsageError(
        f'{config_dir} has no document "{name}"',
        where=f"--config-name {name}",
        next_step=f"there is: {there}",
    )


def read_documents(paths: Sequence[Path], overrides: Sequence[str], flags: Layer = NO_FLAGS) -> Read:
    """Merge documents in order, then flags, then overrides; raises UsageError."""
    return read(
        [load_yaml(path) for path in paths],
        flags=flags,
        overrides=override_layer(overrides),
        environ=os.environ,
    )


def written(merged: Merged, working_dir: Path, registry: Registry) -> Written:
    """Return the validated document, its paths made absolute so that it means the same from anywhere."""
    validate(Document, merged)
    absolute = Merged(tree=_absolute(merged.tree, working_dir, registry), origins=merged.origins)
    return Written(document=validate(Document, absolute), merged=absolute)


def _absolute(tree: dict[str, Any], working_dir: Path, registry: Registry) -> dict[str, Any]:
    result = {key: dict(value) if isinstance(value, dict) else value for key, value in tree.items()}
    for section, key in (("deployment", "model_path"), ("data", "path"), ("output", "dir")):
        value = result.get(section, {}).get(key)
        if isinstance(value, str):
            result[section][key] = _path(value, working_dir, may_be_name=key == "model_path")
    evaluation = result.get("evaluation", {})
    named = _path_extras(registry)
    if "params" in evaluation:
        evaluation["params"] = _with_paths(evaluation["params"], named, working_dir)
    if "tasks" in evaluation:
        evaluation["tasks"] = [_task_with_paths(task, named, working_dir) for task in evaluation["tasks"]]
    return result


def _path(text: str, working_dir: Path, *, may_be_name: bool = False) -> str:
    """Return the absolute path; what may be a hub id and is no path that exists stays as it is."""
    path = working_dir / Path(text).expanduser()
    is_path = not may_be_name or path.exists() or text.startswith((".", "~", "/"))
    return os.path.normpath(path) if is_path else text


def _path_extras(registry: Registry) -> set[str]:
    return {
        name
        for entry in registry.harnesses.values()
        for name, extra in entry.definition.extras.items()
        if extra.type == "path"
    }


def _task_with_paths(task: Any, named: set[str], working_dir: Path) -> Any:
    if not isinstance(task, dict) or "params" not in task:
        return task
    return {**task, "params": _with_paths(task["params"], named, working_dir)}


def _with_paths(params: dict[str, Any], named: set[str], working_dir: Path) -> dict[str, Any]:
    extra = {
        name: _path(value, working_dir) if name in named and isinstance(value, str) and value else value
        for name, value in params.get("extra", {}).items()
    }
    return {**params, "extra": extra} if extra else params
