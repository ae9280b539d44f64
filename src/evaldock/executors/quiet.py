"""Events of a run where nobody watches: sentences for a log, and no progress."""

from collections.abc import Callable
from pathlib import Path

from evaldock.executors.adapter import Counts
from evaldock.executors.outcome import TaskEnd
from evaldock.plan import Evaluation


class QuietEvents:
    """Tells steps and ends to one function."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell

    def step(self, text: str) -> None:
        self._tell(text)

    def progress(self, evaluation: Evaluation, folder: Path, counts: Counts | None) -> None:
        """Say nothing."""

    def ended(self, evaluation: Evaluation, end: TaskEnd) -> None:
        self._tell(f"{evaluation.folder}: {end.status}")
