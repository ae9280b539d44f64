"""`evaldock doctor --fix`: carries out what needs no question, each step announced before it is taken."""

import shlex
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from evaldock.diagnosis.finding import Finding, Remedy, Section
from evaldock.supply.host import ensure_packages
from evaldock.supply.steps import Report
from evaldock_entrypoints.contract.errors import EvaldockError

_COMMAND_TIMEOUT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Repair:
    """What was done about a finding. error: why it did not work."""

    what: str
    done: str
    error: str | None = None


def repair(sections: Iterable[Section], report: Report) -> list[Repair]:
    """Carry out the remedy of every lack that has one; a remedy that fails does not stop the others."""
    return [
        _mended(finding, finding.remedy, report)
        for finding in fixable(sections)
        if finding.remedy is not None
    ]


def fixable(sections: Iterable[Section]) -> list[Finding]:
    """Return the lacks that can be mended without a question."""
    findings = (finding for section in sections for finding in section.findings)
    return [finding for finding in findings if finding.state == "lack" and finding.remedy]


def announced(remedy: Remedy) -> str:
    """Return what a remedy will do, as commands."""
    return "; ".join(_commands(remedy))


def _commands(remedy: Remedy) -> Iterator[str]:
    if remedy.packages:
        yield f"apt-get install --no-install-recommends {' '.join(remedy.packages)}"
    yield from map(shlex.join, remedy.commands)


def _mended(finding: Finding, remedy: Remedy, report: Report) -> Repair:
    report(f"{finding.what}: {announced(remedy)}")
    error = _carry_out(remedy, report)
    if error:
        report(f"{finding.what}: {error}")
    return Repair(what=finding.what, done=announced(remedy), error=error)


def _carry_out(remedy: Remedy, report: Report) -> str | None:
    """Return why it failed, None when it did not."""
    try:
        ensure_packages(remedy.packages, report=report)
        for command in remedy.commands:
            subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=True)
    except EvaldockError as error:
        return error.message
    except subprocess.CalledProcessError as error:
        return f"{error.cmd[0]} ended with status {error.returncode}: {str(error.stderr).strip()}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None
