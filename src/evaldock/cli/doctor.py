"""`evaldock doctor`."""

import json
import sys

import click

from evaldock.supply.diagnosis import diagnose
from evaldock_entrypoints.contract.errors import ExitCode


@click.command()
@click.option("--json", "as_json", is_flag=True)
def doctor(as_json: bool) -> None:
    """Say what this machine has and lacks for evaldock, each lack with the command that mends it."""
    findings = diagnose()
    if as_json:
        click.echo(json.dumps([finding.__dict__ for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(f"{'ok  ' if finding.ok else 'LACK'}  {finding.what}: {finding.found}")
            if finding.fix and not finding.ok:
                click.echo(f"      fix: {finding.fix}")
    if any(not finding.ok and finding.needed for finding in findings):
        sys.exit(int(ExitCode.EXECUTION))
