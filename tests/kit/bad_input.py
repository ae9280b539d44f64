"""Rows of the tests of bad input: what is typed, and what the answer must say."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.kit.cli import Ended, evaldock

from evaldock_entrypoints.contract.errors import ExitCode

LIMIT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Row:
    """One mistake. {names} in document and argv are filled in from the world of the test."""

    name: str
    document: str = ""
    argv: tuple[str, ...] = ("run", "eval.yaml")
    env: Mapping[str, str] = field(default_factory=dict)
    code: ExitCode = ExitCode.USAGE
    what: str
    where: str
    next_step: str

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """The three parts of a message in the house style."""

    what: str
    where: str
    next_step: str


def typed(
    row: Row, folder: Path, names: Mapping[str, str], env: Mapping[str, str], under: Sequence[str] = ()
) -> tuple[Ended, float]:
    """Write the row's document into the folder, run its command there; return how it ended, and seconds."""
    (folder / "eval.yaml").write_text(_filled(row.document, names), encoding="utf-8")
    argv = [_filled(part, names) for part in row.argv]
    variables = {**env, **{name: _filled(value, names) for name, value in row.env.items()}}
    started = time.monotonic()
    ended = evaldock(*argv, cwd=folder, env=variables, timeout_s=60, under=under)
    return ended, time.monotonic() - started


def _filled(text: str, names: Mapping[str, str]) -> str:
    for name, value in names.items():
        text = text.replace("{" + name + "}", value)
    return text


def refusal(ended: Ended) -> Refusal:
    """Return the message's parts; fails where it is not what / where / next."""
    lines = ended.err.rstrip("\n").splitlines()
    start = next((n for n, line in enumerate(lines) if line.startswith("evaldock: error: ")), None)
    assert start is not None, f"no error line:\n{ended.err}"
    rest = lines[start + 1 :]
    step = next((n for n, line in enumerate(rest) if line.startswith("  next: ")), None)
    assert step is not None, f'no "next:" line:\n{ended.err}'
    assert all(line.startswith("  ") for line in rest), f"not indented:\n{ended.err}"
    return Refusal(
        what=lines[start].removeprefix("evaldock: error: "),
        where="\n".join(line.strip() for line in rest[:step]),
        next_step="\n".join(rest[step:]).removeprefix("  next: "),
    )


def assert_refused(row: Row, ended: Ended, seconds: float) -> None:
    """Check exit code, streams, form, contents and time of a refusal."""
    assert ended.code == row.code, f"exit {ended.code}:\n{ended.err}"
    assert ended.out == "", "results go to stdout, and there is none"
    assert "Traceback" not in ended.err
    said = refusal(ended)
    assert row.what in said.what
    assert said.where, f"no place named:\n{ended.err}"
    assert row.where in said.where
    assert row.next_step in said.next_step
    assert seconds <= LIMIT_S
