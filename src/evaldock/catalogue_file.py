"""Which file is the catalogue, and its tasks read without its models: `evaldock ls` starts in a blink."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from evaldock_entrypoints.contract.errors import PinError, UsageError

REGISTRY_FILE = "registry.yaml"
FILE_VARIABLE = "EVALDOCK_REGISTRY_FILE"  # --registry sets it
_CHOICE = f"check --registry or {FILE_VARIABLE}; without them the built-in one is used"


class TaskRow(NamedTuple):
    """What is shown of a task."""

    name: str
    harness: str
    task: str
    endpoint_types: list[str]
    capabilities: list[str]
    licenses: list[str]
    description: str


def registry_path() -> Path:
    """Return where the catalogue stands: the file chosen, else the package's, else the checkout's."""
    if chosen := os.environ.get(FILE_VARIABLE):
        return Path(chosen)
    packaged = Path(__file__).parent / REGISTRY_FILE
    return packaged if packaged.is_file() else Path(__file__).resolve().parents[2] / REGISTRY_FILE


def further_tasks(harness: str, name: str) -> Path:
    """Return the list of a harness's undeclared tasks: the package's, else the checkout's."""
    packaged = Path(__file__).parent / "further_tasks" / harness / name
    return (
        packaged if packaged.is_file() else Path(__file__).resolve().parents[2] / "harnesses" / harness / name
    )


def site_path() -> Path:
    """Return where a user or site lays mirrors, default harnesses and digests over the catalogue."""
    home = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return (home if home.is_absolute() else Path.home() / ".config") / "evaldock" / REGISTRY_FILE


def read_tree(path: Path, step: str = _CHOICE) -> Any:
    """Parse a YAML file; raises UsageError when it cannot be read, PinError when it is malformed.

    step: what to do where the file cannot be read.
    """
    try:
        return yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except OSError as error:
        raise UsageError(
            f"the catalogue cannot be read: {error.strerror}",
            where=str(path),
            next_step=step,
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise PinError(
            f"the catalogue is malformed: {getattr(error, 'problem', None) or error}",
            where=f"{path}:{mark.line + 1}" if mark else str(path),
            next_step="close what is open, and quote text that holds : or #",
        ) from error


def catalogued_tasks(path: Path | None = None) -> list[TaskRow]:
    """Return the tasks of the catalogue; raises what load_registry raises."""
    path = path or registry_path()
    tree = read_tree(path)
    try:
        return [
            _row(harness, task)
            for harness, entry in tree["harnesses"].items()
            for task in entry["definition"]["tasks"]
        ]
    except (AttributeError, KeyError, TypeError):
        from evaldock.registry import load_registry

        load_registry(path)  # its models say what is wrong
        raise


def _row(harness: str, task: Mapping[str, Any]) -> TaskRow:
    sources: Iterable[Mapping[str, str]] = task.get("data", ())
    return TaskRow(
        name=f"{harness}.{task['name']}",
        harness=harness,
        task=task["name"],
        endpoint_types=task["endpoint_types"],
        capabilities=task.get("capabilities", []),
        licenses=sorted({source["license"] for source in sources}),
        description=task["description"],
    )
