"""What a check of an image comes to."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from evaldock.visible_text import one_line

State = Literal["ok", "failed", "not applicable"]
_SHOWN = 300  # characters of what was seen


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One check: its name, how it came out, and what was seen."""

    check: str
    state: State
    seen: str


def ok(check: str, seen: str) -> Verdict:
    """Return the verdict on a promise that is kept."""
    return Verdict(check=check, state="ok", seen=_shown(seen))


def failed(check: str, seen: str) -> Verdict:
    """Return the verdict on a promise that is broken."""
    return Verdict(check=check, state="failed", seen=_shown(seen))


def judged(check: str, kept: bool, seen: str) -> Verdict:
    """Return the verdict on what was seen either way."""
    return ok(check, seen) if kept else failed(check, seen)


def not_applicable(check: str, why: str) -> Verdict:
    """Return the verdict on what could not be tried."""
    return Verdict(check=check, state="not applicable", seen=_shown(why))


def has_failed(verdicts: Sequence[Verdict]) -> bool:
    """Tell whether any promise is broken."""
    return any(verdict.state == "failed" for verdict in verdicts)


def as_tree(verdicts: Sequence[Verdict]) -> list[dict[str, str]]:
    """Return the verdicts as JSON has them."""
    return [asdict(verdict) for verdict in verdicts]


def as_table(verdicts: Sequence[Verdict]) -> str:
    """Return one line per check: its name, its state, what was seen."""
    widths = [max(len(getattr(verdict, name)) for verdict in verdicts) for name in ("check", "state")]
    lines = (f"{each.check:{widths[0]}}  {each.state:{widths[1]}}  {each.seen}" for each in verdicts)
    return "\n".join(line.rstrip() for line in lines)


def _shown(text: str) -> str:
    """Return what a container said on one line, bounded, with nothing that moves a cursor."""
    line = one_line(" ".join(text.split()))
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
