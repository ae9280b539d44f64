"""Reads what a user wrote (files, -o overrides, flags) into one validated document."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.loading import Layer, Merged, load_yaml, merge, override_layer, validate


def find_config(config_dir: Path, name: str) -> Path:
    """Return the file of --config-dir and --config-name, with or without its ending; raises UsageError."""
    candidates = [config_dir / name, config_dir / f"{name}.yaml", config_dir / f"{name}.yml"]
    for path in candidates:
        if path.is_file():
            return path
    there = ", ".join(sorted(path.stem for path in config_dir.glob("*.y*ml"))) or "no YAML file"
    raise UsageError(f'{config_dir} has no document "{name}"', next_step=f"there is: {there}")


def read_documents(paths: Sequence[Path], overrides: Sequence[str], flags: Layer | None = None) -> Merged:
    """Merge documents in order, then flags, then overrides; raises UsageError."""
    layers = [load_yaml(path) for path in paths]
    return merge([*layers, *([flags] if flags else []), override_layer(overrides)])


def with_limit(merged: Merged, limit_samples: float | None) -> Merged:
    """Return the document with this limit on every task, over what a task sets itself."""
    tasks = merged.tree.get("evaluation", {}).get("tasks")
    if limit_samples is None or not isinstance(tasks, list):
        return merged
    named = [dict(task) if isinstance(task, dict) else {"name": task} for task in tasks]
    limited = [
        task | {"params": {**task.get("params", {}), "limit_samples": limit_samples}} for task in named
    ]
    evaluation = {**merged.tree["evaluation"], "tasks": limited}
    return Merged(tree={**merged.tree, "evaluation": evaluation}, origins=merged.origins)


def validated(merged: Merged, working_dir: Path) -> tuple[Document, dict[str, Any]]:
    """Return the document and its tree as the run records it, with the paths that exist made absolute."""
    validate(Document, merged)
    tree = _absolute(merged.tree, working_dir)
    return validate(Document, Merged(tree=tree, origins=merged.origins)), tree


_PATHS = (
    ("deployment", "model_path"),
    ("deployment", "checkpoint_path"),
    ("data", "path"),
    ("output", "dir"),
)


def _absolute(tree: dict[str, Any], working_dir: Path) -> dict[str, Any]:
    result = {key: dict(value) if isinstance(value, dict) else value for key, value in tree.items()}
    for section, key in _PATHS:
        value = result.get(section, {}).get(key)
        if isinstance(value, str) and (key == "dir" or (working_dir / value).exists()):
            result[section][key] = str(working_dir / value)
    return result
