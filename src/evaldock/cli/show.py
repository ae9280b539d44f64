"""Shows a run's events: progress bars on a terminal, plain lines elsewhere. All of it on stderr.

rich heeds NO_COLOR and FORCE_COLOR by itself.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from evaldock.executors.adapter import Counts
from evaldock.executors.outcome import TaskEnd
from evaldock.plan import Evaluation
from evaldock.untrusted_files import UnreadableFileError, read_json
from evaldock.visible_text import clipped, one_line

_PLAIN_PERIOD_S = 15.0
_MOST, _PHASE_LENGTH = 10**12, 60  # of what a harness says of itself


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a task is. total None: nobody says how much there is to do."""

    phase: str
    done: int
    total: int | None

    @property
    def text(self) -> str:
        return f"{self.done} of {self.total}" if self.total is not None else f"{self.done} answered"


def read_progress(folder: Path) -> Progress | None:
    """Return what the harness has said of a task in progress, if anything."""
    try:
        told = read_json(folder / "progress.json")
        done, total = (min(max(int(told[name]), 0), _MOST) for name in ("done", "total"))
        return Progress(phase=one_line(clipped(str(told["phase"]), _PHASE_LENGTH)), done=done, total=total)
    except (UnreadableFileError, KeyError, TypeError, ValueError, OverflowError):
        return None


def progress_of(folder: Path, counts: Counts | None) -> Progress | None:
    """Return how far the task is: in the harness's own words, else by the requests that were answered."""
    told = read_progress(folder)
    if told is not None or counts is None or counts.requests == 0:
        return told
    return Progress(phase="requests", done=counts.answered, total=None)


def _trouble(counts: Counts | None) -> str:
    """Return what went wrong with requests so far, for the end of a line."""
    if counts is None:
        return ""
    named = {"retried": counts.retried, "failed": counts.failed}
    return "".join(f", {number} {what}" for what, number in named.items() if number)


class PlainEvents:
    """One line per event; progress at most every 15 seconds."""

    def __init__(self, tasks: int) -> None:
        self._tasks, self._finished = tasks, 0
        self._said_at = time.monotonic()
        self._phase_started: dict[tuple[str, str], tuple[float, int]] = {}

    def step(self, text: str) -> None:
        click.echo(f"evaldock: {text}", err=True)

    def progress(self, evaluation: Evaluation, folder: Path, counts: Counts | None) -> None:
        state = progress_of(folder, counts)
        if state is None:
            return
        rate = self._rate(evaluation, state)  # from the first sight of a phase on, said or not
        if time.monotonic() - self._said_at < _PLAIN_PERIOD_S:
            return
        self._said_at = time.monotonic()
        left = f", {(state.total - state.done) / rate:.0f} s left" if rate > 0 and state.total else ""
        self.step(f"{self._title(evaluation, state)}: {state.text}, {rate:.1f}/s{left}{_trouble(counts)}")

    def _title(self, evaluation: Evaluation, state: Progress) -> str:
        return f"task {self._finished + 1} of {self._tasks}, {evaluation.folder} {state.phase}"

    def _rate(self, evaluation: Evaluation, state: Progress) -> float:
        """Return the samples per second since this phase was first seen."""
        now = time.monotonic()
        started, before = self._phase_started.setdefault((evaluation.folder, state.phase), (now, state.done))
        return (state.done - before) / max(now - started, 1e-9)

    def ended(self, evaluation: Evaluation, end: TaskEnd) -> None:
        self._finished += 1
        self.step(f"{evaluation.folder}: {end.status}{_reason(end)}")


class TerminalEvents(PlainEvents):
    """The same events with a progress bar per task."""

    def __init__(self, tasks: int, bars: Bars) -> None:
        super().__init__(tasks)
        self._bars = bars
        self._ids: dict[str, TaskID] = {}

    def step(self, text: str) -> None:
        self._bars.console.print(f"evaldock: {text}", markup=False, highlight=False)

    def progress(self, evaluation: Evaluation, folder: Path, counts: Counts | None) -> None:
        state = progress_of(folder, counts)
        if state is None:
            return
        title = self._title(evaluation, state)
        if title not in self._ids:
            self._ids[title] = self._bars.add_task(title, total=state.total, rate="")
        rate = f"{self._rate(evaluation, state):.1f}/s{_trouble(counts)}"
        self._bars.update(self._ids[title], completed=state.done, total=state.total, rate=rate)


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
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        yield TerminalEvents(tasks, bars)
