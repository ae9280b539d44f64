"""Writes report.html: one file, no script, nothing loaded from anywhere."""

import base64
import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from evaldock.analysis import wording
from evaldock.analysis.records import MetricRow, RunRecord, TaskRecord
from evaldock.analysis.runs import read_run
from evaldock.analysis.samples import Selection, select_samples
from evaldock.visible_text import clipped, first_line, one_line, visible, without_credentials
from evaldock_entrypoints.contract.files import write_bytes

REPORT_FILE = "report.html"
_TEXT_LENGTH = 4000
_MAX_PARTS = 500


@dataclass(frozen=True, kw_only=True)
class Bar:
    """How much of a task is scored, errored and missing, as shares of 100."""

    scored: float
    errored: float
    missing: float


@dataclass(frozen=True, kw_only=True)
class TaskView:
    """A task as the template shows it."""

    number: int
    record: TaskRecord
    samples: Selection

    @property
    def metrics(self) -> list[MetricRow]:
        return wording.ordered_metrics(self.record)[:_MAX_PARTS]

    @property
    def headline(self) -> list[MetricRow]:
        """The metrics of the task itself, without those of its parts."""
        return [row for row in self.metrics if not wording.is_part(row, self.record)]

    @property
    def bar(self) -> Bar | None:
        counts = self.record.completeness
        if counts is None or counts.expected <= 0:
            return None
        errored = min(counts.errored, max(0, counts.expected - counts.scored))
        rest = max(0, counts.expected - counts.scored - errored)
        whole = counts.scored + errored + rest
        return Bar(
            scored=100 * counts.scored / whole, errored=100 * errored / whole, missing=100 * rest / whole
        )

    @property
    def unanswered(self) -> int:
        """Samples that neither a score nor an error accounts for."""
        counts = self.record.completeness
        return max(0, counts.expected - counts.scored - counts.errored) if counts else 0

    @property
    def duration(self) -> str:
        provenance = self.record.provenance
        return wording.lasting(wording.duration_s(provenance.started_at, provenance.ended_at))


@dataclass(frozen=True)
class RunView:
    """A run as the template shows it."""

    record: RunRecord

    @cached_property
    def tasks(self) -> list[TaskView]:
        return [
            TaskView(number=number, record=task, samples=select_samples(task.path))
            for number, task in enumerate(self.record.tasks, start=1)
        ]

    @property
    def started_at(self) -> str | None:
        return min(
            (t.provenance.started_at for t in self.record.tasks if t.provenance.started_at), default=None
        )

    @property
    def duration(self) -> str:
        ends = [task.provenance.ended_at for task in self.record.tasks if task.provenance.ended_at]
        return wording.lasting(wording.duration_s(self.started_at, max(ends, default=None)))

    @property
    def n_complete(self) -> int:
        return sum(task.status == "complete" for task in self.record.tasks)

    @property
    def endpoint_types(self) -> str:
        types = [task.endpoint.type for task in self.record.tasks if task.endpoint.type]
        return ", ".join(dict.fromkeys(types)) or wording.DASH

    @property
    def document(self) -> str:
        text = yaml.safe_dump(dict(self.record.document), sort_keys=False, allow_unicode=True, width=100)
        return without_credentials(text)


def write_report(run_dir: Path) -> Path:
    """Write report.html into the run's folder and return its path; raises UsageError where no run is."""
    path = run_dir / REPORT_FILE
    write_bytes(path, render_report(read_run(run_dir)).encode())
    return path


def render_report(run: RunRecord) -> str:
    """Return the report as HTML."""
    style = _resource("report.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            run=RunView(run),
            style=Markup(style),  # the package's own file
            style_sha256=digest,
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["wording"] = wording
    environment.filters |= {
        "fixed": wording.fixed,
        "interval": wording.interval,
        "plain": wording.plain,
        "first_line": first_line,
        "moment": wording.moment,
        "one_line": one_line,
        "excerpt": _excerpt,
        "cut_length": _cut_length,
        "position": _position,
        "brief": lambda text, length: clipped(one_line(text), length),
        "grouped": lambda number: f"{number:,}",
    }
    environment.tests["drawable"] = _is_drawable
    return environment


def _resource(name: str) -> str:
    return (files("evaldock.analysis") / "templates" / name).read_text(encoding="utf-8")


def _finalized(value: Any) -> Any:
    """Make every value that the template prints visible; jinja2 escapes it afterwards."""
    if isinstance(value, Markup):
        return value
    return wording.DASH if value is None else visible(str(value))


def _excerpt(text: str) -> str:
    return text[:_TEXT_LENGTH]


def _cut_length(text: str) -> int:
    return max(0, len(text) - _TEXT_LENGTH)


def _position(value: float) -> str:
    """Return where a value lies on the axis from 0 to 1, as SVG's percentage."""
    return f"{100 * min(1.0, max(0.0, value)):.2f}%"


def _is_drawable(metric: MetricRow) -> bool:
    """Tell whether the metric is a share: others (a perplexity) have no place on an axis from 0 to 1."""
    return 0.0 <= metric.value <= 1.0
