"""The Markdown table of a run: readable in a terminal, pastable into an issue."""

from collections.abc import Iterator, Sequence

from evaldock.analysis.records import MetricRow, RunRecord, TaskRecord
from evaldock.analysis.wording import (
    DASH,
    answer_counts,
    changed_settings,
    fixed,
    flat,
    interval,
    is_part,
    ordered_metrics,
    status_text,
    unscored_tasks,
    version,
)
from evaldock.visible_text import clipped, markdown, width

_HEADINGS = ("Task", "Version", "n-shot", "Metric", "Value", "± Stderr", "95 % interval", "n", "Status")
_NUMERIC = frozenset({"n-shot", "Value", "± Stderr", "95 % interval", "n"})
_CELL_LENGTH = 120
_LINE_LENGTH = 400

Row = Sequence[str]


def markdown_table(run: RunRecord) -> str:
    """Return the table of every metric, and below it what a reader of the scores must know."""
    rows = [row for task in run.tasks for row in _rows(task)]
    notes = [f"- {_safe(flat(line), _LINE_LENGTH)}" for line in _remarks(run)]
    return "\n".join([*_aligned(rows), *([""] if notes else []), *notes]) + "\n"


def _rows(task: TaskRecord) -> Iterator[Row]:
    """Yield a row for each metric; the first one carries what is the task's rather than the metric's."""
    metrics = ordered_metrics(task)
    shots = DASH if task.num_fewshot is None else str(task.num_fewshot)
    head = (version(task), shots)
    if not metrics:
        yield _row(task.task, *head, DASH, DASH, DASH, DASH, DASH, status_text(task))
    shown = None
    for place, metric in enumerate(metrics):
        first = place == 0
        yield _row(
            _label(metric, task) if metric.task != shown else "",
            *(head if first else ("", "")),
            metric.name,
            *_figures(metric),
            status_text(task) if first else "",
        )
        shown = metric.task


def _label(metric: MetricRow, task: TaskRecord) -> str:
    return f" - {metric.task}" if is_part(metric, task) else metric.task


def _figures(metric: MetricRow) -> Row:
    """Return value, error, interval and n; a partial value stands in parentheses, without them."""
    if metric.partial:
        return (f"({fixed(metric.value)})", DASH, DASH, str(metric.n))
    stderr = DASH if metric.stderr is None else f"± {fixed(metric.stderr)}"
    return (fixed(metric.value), stderr, interval(metric.ci95), str(metric.n))


def _row(*cells: str) -> Row:
    # An interval's bracket is ours, and a Markdown reader leaves it alone.
    return [cell if _HEADINGS[place] in _NUMERIC else _safe(cell) for place, cell in enumerate(cells)]


def _safe(text: str, length: int = _CELL_LENGTH) -> str:
    return markdown(clipped(text, length))


def _aligned(rows: Sequence[Row]) -> Iterator[str]:
    # A rule of Markdown for a right-aligned column takes two characters.
    widths = [max(2, *(width(row[place]) for row in [_HEADINGS, *rows])) for place in range(len(_HEADINGS))]
    yield _line(_HEADINGS, widths)
    rules = [
        "-" * (size - 1) + ":" if name in _NUMERIC else "-" * size
        for name, size in zip(_HEADINGS, widths, strict=True)
    ]
    yield _line(rules, widths)
    for row in rows:
        yield _line(row, widths)


def _line(cells: Row, widths: Sequence[int]) -> str:
    padded = [
        " " * (size - width(cell)) + cell if name in _NUMERIC else cell + " " * (size - width(cell))
        for name, cell, size in zip(_HEADINGS, cells, widths, strict=True)
    ]
    return f"| {' | '.join(padded)} |"


def _remarks(run: RunRecord) -> Iterator[str]:
    yield from run.problems
    for task_without in unscored_tasks(run):
        reasons = f": {'; '.join(task_without.why)}" if task_without.why else ""
        yield f"{task_without.task}: no score, {task_without.what}{reasons}"
        yield f"{task_without.task}: next: {task_without.next_step}"
    if any(metric.partial for task in run.tasks for metric in task.metrics):
        yield "a value in parentheses is a figure of the scored part only, and not a score"
    for task in run.tasks:
        counts, settings = answer_counts(task), changed_settings(task)
        yield from [f"{task.name}: {counts}"] if counts else []
        yield from [f"{task.name}: settings: {settings}"] if settings else []
        yield from (f"{task.name}: note: {note}" for note in task.notes)
        yield from (f"{task.name}: {problem}" for problem in task.problems if task.status == "complete")
