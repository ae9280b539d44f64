"""`evaldock doctor`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaldock.cli.options import output_dir_option
from evaldock.diagnosis.facts import gather
from evaldock.diagnosis.finding import Finding, Section
from evaldock.diagnosis.repair import Repair, fixable, repair
from evaldock.diagnosis.survey import examine, shown
from evaldock.diagnosis.trial import try_containers
from evaldock_entrypoints.contract.errors import ExitCode

_WIDEST = 30
_MARKS = {"ok": ("ok  ", "green"), "note": ("note", "cyan"), "lack": ("LACK", "bold red")}


@click.command()
@click.option("--fix", is_flag=True, help="Carry out what needs no question, then look again.")
@click.option("--deep", is_flag=True, help="Also try limits and owners of files with small containers.")
@click.option("--offline", is_flag=True, help="Ask no server of the network.")
@output_dir_option("Where results would go.")
@click.option("--json", "as_json", is_flag=True, help="Print findings and repairs as JSON.")
def doctor(fix: bool, deep: bool, offline: bool, output_dir: Path, as_json: bool) -> None:
    """Say what this machine has and lacks for evaldock, each lack with the command that mends it.

    \b
    evaldock doctor
    evaldock doctor --fix
    evaldock doctor --deep --offline --json
    """
    sections = _sections(output_dir, deep=deep, offline=offline)
    repairs: list[Repair] = []
    if fix and fixable(sections):
        repairs = repair(sections, _say)
        sections = _sections(output_dir, deep=deep, offline=offline)
    if as_json:
        _print_json(sections, repairs)
    else:
        _print(sections)
    if any(finding.state == "lack" and finding.needed for part in sections for finding in part.findings):
        sys.exit(int(ExitCode.EXECUTION))


def _sections(output: Path, *, deep: bool, offline: bool) -> list[Section]:
    facts = gather(output, offline=offline)
    sections = examine(facts)
    if not deep:
        return sections
    tried = try_containers(facts, _say)
    return [*sections, Section(title=tried.title, findings=tuple(map(shown, tried.findings)))]


def _say(text: str) -> None:
    click.echo(f"evaldock: {text}", err=True)


def _print_json(sections: Sequence[Section], repairs: Sequence[Repair]) -> None:
    findings = [_tree(part.title, finding) for part in sections for finding in part.findings]
    tree = {"findings": findings, "repairs": [asdict(done) for done in repairs]}
    click.echo(json.dumps(tree, indent=2, ensure_ascii=False))


def _tree(subject: str, finding: Finding) -> dict[str, str | bool | None]:
    return {
        "subject": subject,
        "what": finding.what,
        "state": finding.state,
        "found": finding.found,
        "fix": finding.fix,
        "needed": finding.needed,
        "fixable": finding.remedy is not None,
    }


def _print(sections: Sequence[Section]) -> None:
    if Console().is_terminal:
        _print_grouped(sections, Console(highlight=False))
    else:
        _print_plain(sections)
    lacks = [finding for part in sections for finding in part.findings if finding.state == "lack"]
    if lacks:
        needed = sum(finding.needed for finding in lacks)
        _say(f"{len(lacks)} lacking, {needed} of them needed; `--fix` mends {len(fixable(sections))}")


def _print_plain(sections: Sequence[Section]) -> None:
    for finding in (finding for part in sections for finding in part.findings):
        click.echo(f"{_MARKS[finding.state][0]}  {finding.what}: {finding.found}")
        if finding.fix and finding.state != "ok":
            click.echo(f"      fix: {finding.fix}")


def _print_grouped(sections: Sequence[Section], console: Console) -> None:
    for part in sections:
        console.print(Text(f"\n{part.title}", style="bold"))
        width = max(cell_len(finding.what) for finding in part.findings)
        for finding in part.findings:
            _print_row(finding, min(width, _WIDEST), console)


def _print_row(finding: Finding, width: int, console: Console) -> None:
    mark, style = _MARKS[finding.state]
    row = Table.grid(padding=(0, 2))
    row.add_column()
    row.add_column(width=width)
    row.add_row(Text(mark, style=style), Text(finding.what), Text(finding.found))
    console.print(row)
    if finding.fix and finding.state != "ok":
        # Not wrapped: it is to be copied.
        console.print(Text(f"      fix: {finding.fix}", style="bold"), soft_wrap=True)
