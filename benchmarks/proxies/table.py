"""What a benchmark prints: a table and whether its goals are reached."""

from collections.abc import Sequence
from dataclasses import dataclass

MOST_DRIFT = 1.1  # between the baseline's two best values; beyond it the run is void


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A figure to reach. value: None where a contender it needs was not measured."""

    what: str
    value: float | None
    bound: float
    at_least: bool = False

    @property
    def is_reached(self) -> bool:
        """Tell whether the figure is on the right side of its bound."""
        if self.value is None:
            return False
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def line(self) -> str:
        """Return the goal as a row of a table."""
        sign = "≥" if self.at_least else "≤"
        if self.value is None:
            return f"| {self.what} | {sign} {self.bound:g} | - | not measured |"
        verdict = "reached" if self.is_reached else f"missed by {abs(self.value / self.bound - 1):.0%}"
        return f"| {self.what} | {sign} {self.bound:g} | {self.value:.3g} | {verdict} |"


@dataclass(frozen=True, kw_only=True)
class Table:
    """One goal's table. baseline: its values, best first; the run is void where the two best differ."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    goals: Sequence[Goal]
    baseline: Sequence[float]
    notes: Sequence[str] = ()

    @property
    def is_void(self) -> bool:
        """Tell whether the machine was too restless."""
        if len(self.baseline) < 2:
            return False
        best, second = self.baseline[:2]
        return max(best, second) > min(best, second) * MOST_DRIFT

    def text(self) -> str:
        """Return the table and its goals as Markdown."""
        lines = [f"## {self.title}", "", _row(self.columns), _rule(len(self.columns))]
        lines += [_row(row) for row in self.rows]
        lines += ["", "| goal | bound | value | |", "| --- | ---: | ---: | --- |"]
        lines += [goal.line() for goal in self.goals]
        lines += ["", *self.notes]
        void = "void: the baseline's two best values differ by more than 10 %"
        return "\n".join([*lines, void if self.is_void else "valid", ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(count: int) -> str:
    return _row(["---", *["---:"] * (count - 1)])
