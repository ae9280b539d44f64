"""A finding: what was looked at, what was seen, and what mends it."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "lack"]


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """What --fix may carry out without questions: Debian packages first, then argument lists."""

    packages: tuple[str, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One looked-at thing. needed: evaldock cannot run without it. fix: the command that mends it."""

    what: str
    state: State
    found: str
    fix: str | None = None
    needed: bool = False
    remedy: Remedy | None = None


@dataclass(frozen=True, kw_only=True)
class Section:
    """The findings about one subject."""

    title: str
    findings: tuple[Finding, ...]


def ok(what: str, found: str) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(what=what, state="ok", found=found)


def note(what: str, found: str, fix: str | None = None) -> Finding:
    """Return a finding that is good to know, and what would change it."""
    return Finding(what=what, state="note", found=found, fix=fix)


def lack(what: str, found: str, fix: str, *, needed: bool = False, remedy: Remedy | None = None) -> Finding:
    """Return a finding that asks for a repair."""
    return Finding(what=what, state="lack", found=found, fix=fix, needed=needed, remedy=remedy)
