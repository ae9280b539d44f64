"""How a task ended: read from its folder, or written there when its container could not."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaldock.plan import Evaluation
from evaldock.untrusted_files import UnreadableFileError, read_yaml
from evaldock_entrypoints.contract.errors import EvaldockError, ExecutionError, ExitCode
from evaldock_entrypoints.contract.files import make_way, write_yaml
from evaldock_entrypoints.contract.results import SCHEMA, error_record
from evaldock_entrypoints.contract.results_schema import results_schema_file

_SEVERITY = (
    ExitCode.INTERRUPTED,
    ExitCode.INTERNAL,
    ExitCode.PIN,
    ExitCode.EXECUTION,
    ExitCode.USAGE,
    ExitCode.ENDPOINT,
    ExitCode.HARNESS,
    ExitCode.INCOMPLETE,
)


@dataclass(frozen=True, kw_only=True)
class TaskEnd:
    """A task's exit code and its results.yml."""

    folder: Path
    name: str
    exit_code: ExitCode
    results: dict[str, Any]

    @property
    def status(self) -> str:
        return str(self.results.get("status", "failed"))


def read_end(folder: Path, evaluation: Evaluation, code: ExitCode) -> TaskEnd:
    """Return the task's end; a complete container without a complete result is a harness failure."""
    results = read_results(folder)
    if code is ExitCode.COMPLETE and results.get("status") != "complete":
        code = ExitCode.HARNESS
    return TaskEnd(folder=folder, name=evaluation.folder, exit_code=code, results=results)


def read_results(folder: Path) -> dict[str, Any]:
    """Return results.yml of a task's folder, empty where there is no readable one; links are not followed."""
    try:
        return read_yaml(folder / "results.yml")
    except UnreadableFileError:
        return {}


def write_failure(folder: Path, evaluation: Evaluation, error: EvaldockError) -> None:
    """Write results.yml for a task whose container could not say itself what happened.

    Raises ExecutionError where it cannot be written.
    """
    tree = {
        "schema": SCHEMA,
        "status": "failed",
        "config": {"type": evaluation.task, "harness": evaluation.harness},
        "results": {"tasks": {}, "groups": {}},
        "error": error_record(error),
    }
    header = f"# {SCHEMA}, written by evaldock run\n"
    path = folder / "results.yml"
    try:
        make_way(path)
        write_yaml(path, tree, header=header, schema=results_schema_file())
    except OSError as problem:
        raise ExecutionError(
            f"{error.message}; and that cannot be written down: {problem.strerror}",
            where=str(path),
            next_step="see who may write there and what stands in its place",
        ) from error


def worst(ends: list[TaskEnd]) -> ExitCode:
    """Return the run's exit code: the gravest of its tasks'."""
    codes = {end.exit_code for end in ends}
    return next((code for code in _SEVERITY if code in codes), ExitCode.COMPLETE)
