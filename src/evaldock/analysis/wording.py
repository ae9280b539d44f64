"""What is said of a task, the same in table, summary and report."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from evaldock.analysis.records import MetricRow, RunRecord, TaskRecord
from evaldock.visible_text import first_line
from evaldock_entrypoints.contract.document import Output
from evaldock_entrypoints.contract.params import DEFAULT_PARAMS
from evaldock_entrypoints.contract.results import Scalar

DASH = "-"
_OUTPUT_DIR = Output().dir


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One parameter; `default` is the contract's, and None for what the contract does not know."""

    name: str
    value: Scalar
    default: Scalar
    is_changed: bool
    is_extra: bool = False


@dataclass(frozen=True, kw_only=True)
class Unscored:
    """A task that carries no score: what happened, why, and what to do next."""

    task: str
    what: str
    why: tuple[str, ...]
    next_step: str


def ordered_metrics(task: TaskRecord) -> list[MetricRow]:
    """Return the metrics, groups first, and of these the one that is the task's own."""
    return sorted(task.metrics, key=lambda row: (not row.group, row.task != task.task))


def is_part(row: MetricRow, task: TaskRecord) -> bool:
    """Tell whether the metric stands under a part of the task: below its own group, else below any group."""
    groups = {metric.task for metric in task.metrics if metric.group}
    top = groups & {task.task} or groups
    return bool(top) and not (row.group and row.task in top)


def missing(task: TaskRecord) -> int:
    """Return how many expected samples carry no score, errored ones among them."""
    return max(0, task.completeness.expected - task.completeness.scored) if task.completeness else 0


def status_text(task: TaskRecord) -> str:
    """Return the status in a few words, on one line."""
    match task.status:
        case "incomplete" if task.completeness and missing(task):
            return f"incomplete ({missing(task)} of {task.completeness.expected} missing)"
        case "incomplete":
            return f"incomplete ({first_line(task.reasons[0])})" if task.reasons else "incomplete"
        case "unfinished" | "unreadable":
            return f"{task.status}: {first_line(task.problems[0])}" if task.problems else task.status
        case "failed" | "interrupted" if task.error:
            return f"{task.status}: {first_line(task.error.message)}"
        case _:
            return task.status


def unscored_tasks(run: RunRecord) -> list[Unscored]:
    """Return a warning for each task without a score, in the run's order."""
    return [_unscored(run, task) for task in run.tasks if task.status != "complete"]


def _unscored(run: RunRecord, task: TaskRecord) -> Unscored:
    resume = resume_command(run)
    match task.status:
        case "incomplete":
            what, why = status_text(task), task.reasons
            next_step = f"{resume} asks again for what is missing; until then there is no score"
        case "failed" | "interrupted" if task.error:
            what, error = status_text(task), task.error
            # A next step of several lines is what the failed process said last: evidence, not advice.
            advice = error.next_step if error.next_step and "\n" not in error.next_step else None
            evidence = error.next_step if advice is None else None
            why = tuple(part for part in (_rest(error.message), error.where, evidence) if part)
            next_step = advice or f"look into {task.name}/logs/, then {resume}"
        case "unreadable":
            what, why = "its results cannot be read", task.problems
            next_step = f"look into {task.name}/results.yml, or run the task again: {resume}"
        case _:
            what, why = task.status, task.problems
            next_step = f"if nothing runs any more: {resume}"
    return Unscored(task=task.name, what=what, why=tuple(why), next_step=next_step)


def resume_command(run: RunRecord) -> str:
    """Return the command that asks again for what the run lacks."""
    output = run.document.get("output")
    folder = output.get("dir", _OUTPUT_DIR) if isinstance(output, dict) else _OUTPUT_DIR
    option = [] if folder == _OUTPUT_DIR else ["--output-dir", str(folder)]
    return shlex.join(["evaldock", "resume", run.run_id, *option])


def _rest(message: str) -> str:
    """Return a message's lines below the first, or all of it where the first one is too long to show."""
    head, _, rest = message.partition("\n")
    return rest.strip() if len(head) <= 160 else message


def answer_counts(task: TaskRecord) -> str | None:
    """Return how many answers were cut off or empty, None where nothing counted them."""
    counts = task.completeness
    if counts is None:
        return None
    named = {
        "truncated at the length limit": counts.truncated,
        "empty": counts.empty,
        "refused": counts.refused,
    }
    known = [f"{count} {name}" for name, count in named.items() if count is not None]
    return f"{', '.join(known)} (of {counts.scored} answers scored)" if known else None


def settings(task: TaskRecord) -> list[Setting]:
    """Return the task's parameters and the extras that are set, with the contract's defaults."""
    params = [_setting(name, value) for name, value in task.params.items()]
    extras = [
        Setting(name=f"extra.{name}", value=value, default=None, is_changed=True, is_extra=True)
        for name, value in task.extras.items()
        if value is not None
    ]
    return params + extras


def _setting(name: str, value: Scalar) -> Setting:
    default = DEFAULT_PARAMS.get(name)
    return Setting(name=name, value=value, default=default, is_changed=value != default)


def changed_settings(task: TaskRecord) -> str | None:
    """Return the parameters that differ from the contract's defaults, None where none does."""
    parts = [
        f"{each.name} {plain(each.value)}" + ("" if each.is_extra else f" (default {plain(each.default)})")
        for each in settings(task)
        if each.is_changed
    ]
    return ", ".join(parts) or None


def plain(value: Scalar) -> str:
    """Return a scalar as a document would spell it."""
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def fixed(value: float | None) -> str:
    """Return four decimals, or a dash."""
    return DASH if value is None else f"{value:.4f}"


def interval(ci95: tuple[float, float] | None) -> str:
    """Return [low, high] with three decimals, or a dash."""
    return DASH if ci95 is None else f"[{ci95[0]:.3f}, {ci95[1]:.3f}]"


def version(task: TaskRecord) -> str:
    """Return harness and version."""
    return f"{task.harness} {task.provenance.harness_version or ''}".strip()


def duration_s(started_at: str | None, ended_at: str | None) -> float | None:
    """Return the seconds between two RFC 3339 times, None where one is absent or none."""
    try:
        start, end = datetime.fromisoformat(started_at or ""), datetime.fromisoformat(ended_at or "")
        return max(0.0, (end - start).total_seconds())
    except (ValueError, TypeError):
        return None


def moment(time: str | None) -> str:
    """Return an RFC 3339 time as 2026-01-31 12:00:00 UTC; what is none stays as it is."""
    try:
        return datetime.fromisoformat(time or "").astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError):
        return time or DASH


def lasting(seconds: float | None) -> str:
    """Return a duration such as 1 h 02 min, 3 min 20 s or 8 s."""
    if seconds is None:
        return DASH
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def flat(text: str) -> str:
    """Return the text with its lines joined by slashes."""
    return " / ".join(line.strip() for line in text.splitlines() if line.strip())


def pairs(values: Mapping[str, object]) -> Sequence[str]:
    """Return "name value" for each entry."""
    return [f"{name} {value}" for name, value in values.items()]
