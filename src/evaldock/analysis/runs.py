"""Finds and reads run folders: <output.dir>/<run_id>/ with run.yaml and one folder per task."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evaldock.analysis.records import RunRecord, TaskRecord
from evaldock.analysis.results_file import read_task
from evaldock.untrusted_files import AbsentFileError, UnreadableFileError, is_folder, read_yaml
from evaldock.visible_text import one_line
from evaldock_entrypoints.contract.errors import UsageError

_DOCUMENT_FILE = "run.yaml"
_SHOWN_CANDIDATES = 10


def list_runs(output_dir: Path) -> list[RunRecord]:
    """Return the runs of an output folder, the last started or resumed first; empty if there is none."""
    return list(iterate_runs(output_dir))


def iterate_runs(output_dir: Path) -> Iterator[RunRecord]:
    """Yield the runs of an output folder in the same order, each read when it is asked for."""
    return (read_run(folder) for folder in _run_folders(output_dir))


def find_run(output_dir: Path, prefix: str) -> RunRecord:
    """Return the run of this id or unique beginning of one; raises UsageError with the candidates."""
    folders = _run_folders(output_dir)
    matches = [folder for folder in folders if prefix and folder.name.startswith(prefix)]
    exact = [folder for folder in matches if folder.name == prefix]
    if len(exact or matches) == 1:
        return read_run((exact or matches)[0])
    problem = f"{len(matches)} runs begin with" if matches else "no run begins with"
    names = [one_line(folder.name) for folder in (matches or folders)[:_SHOWN_CANDIDATES]]
    raise UsageError(
        f'{problem} "{one_line(prefix)}"',
        where=str(output_dir),
        next_step=("choose one of " + ", ".join(names)) if names else "evaldock run writes runs there",
    )


def chosen_run(output_dir: Path, prefix: str | None) -> RunRecord:
    """Return the run that is named, else the newest; raises UsageError where there is none."""
    if prefix:
        return find_run(output_dir, prefix)
    newest = next(iterate_runs(output_dir), None)
    if newest is None:
        raise UsageError(
            "there is no run yet", where=f"{output_dir}/", next_step="evaldock run eval.yaml, or --output-dir"
        )
    return newest


def read_run(folder: Path) -> RunRecord:
    """Return the run in a folder; raises UsageError where there is none.

    Unreadable files do not raise: they stand in `problems` and in the tasks' statuses.
    """
    if not _is_run(folder):
        raise UsageError(
            f"{folder} holds no run",
            next_step="name the folder that holds run.yaml; evaldock ls runs lists them",
        )
    document, problems = _document(folder)
    return RunRecord(
        run_id=folder.resolve().name,
        path=folder,
        document=document,
        tasks=_in_document_order([read_task(path) for path in _task_folders(folder)], document),
        problems=problems,
    )


def _run_folders(output_dir: Path) -> list[Path]:
    if not output_dir.is_dir():
        return []
    found = [path for path in _folders(output_dir) if _is_run(path)]
    return sorted(found, key=lambda path: (_started_ns(path), path.name), reverse=True)


def _is_run(folder: Path) -> bool:
    return is_folder(folder) and ((folder / _DOCUMENT_FILE).exists() or bool(_task_folders(folder)))


def _started_ns(folder: Path) -> int:
    """Return when the run was started or resumed last: its document is written then."""
    document = folder / _DOCUMENT_FILE
    return (document if document.exists() else folder).lstat().st_mtime_ns


def _task_folders(run_dir: Path) -> list[Path]:
    return sorted(path for path in _folders(run_dir) if "." in path.name)


def _folders(parent: Path) -> list[Path]:
    """Return the folders that may be ours: no hidden ones, no links, no names that cannot be printed."""
    try:
        return [
            path
            for path in parent.iterdir()
            if not path.name.startswith(".") and path.name.isprintable() and is_folder(path)
        ]
    except PermissionError as error:
        raise UsageError(
            f"{parent} cannot be listed: {error.strerror}",
            where=str(parent),
            next_step="ask its owner, or name another folder: --output-dir",
        ) from error


def _document(folder: Path) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    try:
        return read_yaml(folder / _DOCUMENT_FILE), ()
    except AbsentFileError:
        return {}, ("run.yaml is missing: what was asked for is not known",)
    except UnreadableFileError as error:
        return {}, (str(error),)


def _in_document_order(tasks: list[TaskRecord], document: Mapping[str, Any]) -> tuple[TaskRecord, ...]:
    asked = _asked(document)
    places = {name: place for place, name in reversed(list(enumerate(asked)))}
    last = len(asked)
    return tuple(
        sorted(tasks, key=lambda task: min(places.get(task.name, last), places.get(task.task, last)))
    )


def _asked(document: Mapping[str, Any]) -> list[str]:
    """Return the names of the tasks in a document that may be of any shape."""
    evaluation = document.get("evaluation")
    requests = evaluation.get("tasks") if isinstance(evaluation, dict) else None
    if not isinstance(requests, list):
        return []
    named = (request.get("name") if isinstance(request, dict) else request for request in requests)
    return [name for name in named if isinstance(name, str)]
