"""Checks of the image's own command line: what a person types into a container of it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from evaldock.compiler.tasks import DOCUMENT_TARGET, RESULTS_TARGET
from evaldock.conformance.asking import Answer, Asker
from evaldock.conformance.subject import Subject
from evaldock.conformance.trial import KEY_NAME, Trial
from evaldock.conformance.verdict import Verdict, failed, judged, ok
from evaldock.plan import Mount
from evaldock.supply.catalogue import HARNESS_LABEL, HarnessLabel, harness_labels
from evaldock_entrypoints.contract.errors import ExitCode
from evaldock_entrypoints.contract.framework import Task
from evaldock_entrypoints.contract.wording import reason

COMMANDS = ("run_eval", "serve")
_DEAD = "http://127.0.0.1:9"  # the discard service, which nobody runs
_TASKS = TypeAdapter(list[Task])


def check_entrypoint(asker: Asker) -> Verdict:
    """Ask both commands of the contract for their help."""
    answers = {name: asker.ask(name, "--help") for name in COMMANDS}
    seen = ", ".join(f"{name} --help: {answer.said}" for name, answer in answers.items())
    return judged("entrypoint", all(answer.code == 0 for answer in answers.values()), seen)


def check_catalogue(asker: Asker, trial: Trial) -> Verdict:
    """Compare what the image lists with what its label promises to those who do not run it."""
    subject = trial.subject
    answer = asker.ask("run_eval", "ls", "--json")
    try:
        listed = _TASKS.validate_json(answer.output)
        label = HarnessLabel.model_validate_json(subject.label or "{}")
    except ValidationError as error:
        return failed("catalogue", f"run_eval ls --json: {answer.said}, label: {reason(error)}")
    named = subject.framework.model_copy(update={"tasks": listed})
    own = HarnessLabel.model_validate_json(harness_labels(named).own[HARNESS_LABEL])
    differing = sorted({task.name for task in own.tasks} ^ {task.name for task in label.tasks})
    if own != label:
        return failed(
            "catalogue", f"ls --json differs from the label: {differing or 'in what it says of tasks'}"
        )
    return ok("catalogue", f"{len(listed)} tasks, as the image's label says")


def check_describe(asker: Asker, trial: Trial) -> Verdict:
    """Compare what the image says of the task with its definition."""
    task = trial.subject.task
    answer = asker.ask("run_eval", "describe", task.name)
    try:
        is_same = Task.model_validate(_json(answer)) == task
    except ValidationError as error:
        return failed("describe", f"run_eval describe {task.name}: {answer.said}; {reason(error)}")
    return judged("describe", is_same, f"run_eval describe {task.name}: {answer.said}")


def check_dry_run(asker: Asker, trial: Trial) -> Verdict:
    """See that a dry run prints every phase's command, and writes and asks nothing."""
    answer, results = _run_eval(asker, trial, "--dry_run")
    left = [path.name for path in results.iterdir()]
    shown = _json(answer)
    argv = shown.get("argv") if isinstance(shown, dict) else None
    phases = sorted(argv) if isinstance(argv, dict) and all(argv.values()) else []
    seen = (
        f"{answer.said}, argv of: {', '.join(phases) or 'nothing'}; written: {', '.join(left) or 'nothing'}"
    )
    return judged("dry_run", answer.code == 0 and bool(phases) and not left, seen)


def check_usage(asker: Asker, trial: Trial) -> Verdict:
    """Type three commands that are wrong."""
    answers = {
        "an unknown option": asker.ask("run_eval", "--no_such_option"),
        "an unknown task": asker.ask("run_eval", "--eval_type", "no_such_task", "--model_url", _DEAD),
        "an unknown parameter": _run_eval(asker, trial, "--overrides", "params.no_such_parameter=1")[0],
    }
    seen = ", ".join(f"{what}: exit {answer.code}" for what, answer in answers.items())
    return judged("usage_errors", all(each.code == ExitCode.USAGE for each in answers.values()), seen)


def check_dead_endpoint(asker: Asker, trial: Trial) -> Verdict:
    """Start a run whose endpoint is not there."""
    answer, results = _run_eval(asker, trial)
    is_told = answer.code == ExitCode.ENDPOINT and not (results / "samples.jsonl.zst").exists()
    return judged("dead_endpoint", is_told, f"nothing listens at the endpoint: exit {answer.code}")


def _run_eval(asker: Asker, trial: Trial, *argv: str) -> tuple[Answer, Path]:
    """Ask for the task at an address where nothing listens; return its folder too."""
    folder = asker.folder / str(next(asker.numbers))
    results = folder / "results"
    results.mkdir(parents=True)
    mounts = (
        document_mount(folder, trial.document(_DEAD)),
        Mount(source=str(results), target=RESULTS_TARGET, read_only=False),
    )
    command = run_eval_argv(trial.subject)
    secrets = {KEY_NAME: trial.canary}
    return asker.ask(*command, *argv, mounts=mounts, secrets=secrets), results


CHECKS: Sequence[Callable[[Asker, Trial], Verdict]] = (
    check_catalogue,
    check_describe,
    check_dry_run,
    check_usage,
    check_dead_endpoint,
)


def document_mount(folder: Path, tree: dict[str, Any]) -> Mount:
    """Write a document for a container and return its mount."""
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    path.chmod(0o644)
    return Mount(source=str(path), target=DOCUMENT_TARGET)


def run_eval_argv(subject: Subject) -> tuple[str, ...]:
    """Return the command that runs the task of the mounted document, alone in its container."""
    sandbox = ("--allow_code_execution",) if subject.has_sandbox else ()
    return (
        *("run_eval", "--eval_type", subject.name, "--run_config", DOCUMENT_TARGET),
        *("--output_dir", RESULTS_TARGET, *sandbox),
    )


def _json(answer: Answer) -> Any:
    """Return the JSON that a command printed, after notes that it may have said; None where it is none."""
    lines = answer.output.splitlines()
    first = next((index for index, line in enumerate(lines) if line.startswith(("{", "["))), len(lines))
    try:
        return json.loads("\n".join(lines[first:]))
    except ValueError:
        return None
