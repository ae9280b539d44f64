"""Shows a run's events: progress bars on a terminal, plain lines elsewhere. All of it on stderr.

rich heeds NO_COLOR and FORCE_COLOR by itself.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from evaldock.executors.outcome import TaskEnd
from evaldock.plan import Evaluation
from evaldock.visible_text import one_line

_PLAIN_PERIOD_S = 15.0


def read_progress(folder: Path) -> tuple[str, int, int] | None:
    """Return (phase, done, total) of a task in progress, if it has said so."""
    try:
        progress = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
        return str(progress["phase"]), int(progress["done"]), int(progress["total"])
    except (OSError, ValueError, KeyError):
        return None


class PlainEvents:
    """One line per event; progress at most every 15 seconds."""

    def __init__(self, tasks: int) -> None:
        self._tasks, self._finished = tasks, 0
        self._said_at = time.monotonic()
        self._phase_started: dict[tuple[str, str], tuple[float, int]] = {}

    def step(self, text: str) -> None:
        click.echo(f"evaldock: {text}", err=True)

    def progress(self, evaluation: Evaluation, folder: Path) -> None:
        state = read_progress(folder)
        if state is None:
            return
        rate = self._rate(evaluation, state)  # from the first sight of a phase on, said or not
        if time.monotonic() - self._said_at < _PLAIN_PERIOD_S:
            return
        self._said_at = time.monotonic()
        _, done, total = state
        left = f", {(total - done) / rate:.0f} s left" if rate > 0 else ""
        self.step(f"{self._title(evaluation, state)}: {done} of {total}, {rate:.1f}/s{left}")

    def _title(self, evaluation: Evaluation, state: tuple[str, int, int]) -> str:
        return f"task {self._finished + 1} of {self._tasks}, {evaluation.folder} {state[0]}"

    def _rate(self, evaluation: Evaluation, state: tuple[str, int, int]) -> float:
        """Return the samples per second since this phase was first seen."""
        phase, done, _ = state
        now = time.monotonic()
        started, before = self._phase_started.setdefault((evaluation.folder, phase), (now, done))
        return (done - before) / max(now - started, 1e-9)

    def ended(self, evaluation: Evaluation, end: TaskEnd) -> None:
        self._finished += 1
        self.step(f"{evaluation.folder}: {end.status}{_reason(end)}")


class TerminalEvents(PlainEvents):
    """The same events with a progress bar per task."""

    def __init__(self, tasks: int, bars: Progress) -> None:
        super().__init__(tasks)
        self._bars = bars
        self._ids: dict[str, TaskID] = {}

    def step(self, text: str) -> None:
        self._bars.console.print(f"evaldock: {text}", markup=False, highlight=False)

    def progress(self, evaluation: Evaluation, folder: Path) -> None:
        state = read_progress(folder)
        if state is None:
            return
        _, done, total = state
        title = self._title(evaluation, state)
        if title not in self._ids:
            self._ids[title] = self._bars.add_task(title, total=total, rate="")
        rate = f"{self._rate(evaluation, state):.1f}/s"
        self._bars.update(self._ids[title], completed=done, total=total, rate=rate)


def _reason(end: TaskEnd) -> str:
    if "error" in end.results:
        return f": {one_line(str(end.results['error']['message']))}"
    reasons = end.results.get("partial", {}).get("reasons", [])
    return f": {one_line(str(reasons[0]))}" if reasons else ""


def _can_redraw() -> bool:
    """Tell whether standard error is a terminal that can go back over its lines."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


@contextlib.contextmanager
def events_for(tasks: int) -> Iterator[PlainEvents]:
    """Yield what shows this run on this output."""
    if not _can_redraw():
        yield PlainEvents(tasks)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield TerminalEvents(tasks, bars)
