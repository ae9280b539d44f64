"""`evaldock results`."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import click

from evaldock.analysis.records import RunRecord
from evaldock.analysis.runs import chosen_run
from evaldock.analysis.summary import summary_tree
from evaldock.analysis.table import markdown_table
from evaldock.cli.options import chooses_run
from evaldock.untrusted_files import AbsentFileError, iterate_zst_lines
from evaldock_entrypoints.contract.errors import UsageError


@click.command()
@chooses_run(required=False)
@click.option("--json", "as_json", is_flag=True, help="Print summary.json.")
@click.option("--samples", is_flag=True, help="Print the samples as JSON lines.")
@click.option("--failed", is_flag=True, help="With --samples: only wrong or errored ones.")
@click.option("--truncated", is_flag=True, help="With --samples: only those that the length limit cut.")
def results(
    run_id: str | None, output_dir: Path, as_json: bool, samples: bool, failed: bool, truncated: bool
) -> None:
    """Show the results of the run whose id begins with RUN_ID (default: the newest).

    \b
    evaldock results
    evaldock results 20260131T --json
    evaldock results 20260131T --samples --failed | head -3
    """
    if samples and as_json:
        raise _contradiction("--samples prints JSON lines, --json one JSON value", "leave one of them out")
    if (failed or truncated) and not samples:
        raise _contradiction("--failed and --truncated choose among samples", "add --samples")
    run = chosen_run(output_dir, run_id)
    if samples:
        _print_samples(run, failed=failed, truncated=truncated)
    elif as_json:
        click.echo(json.dumps(summary_tree(run), indent=2, ensure_ascii=False))
    else:
        click.echo(markdown_table(run))
        click.echo(f"report: {run.path / 'report.html'}", err=True)


def _contradiction(what: str, step: str) -> UsageError:
    return UsageError(what, where="evaldock results", next_step=step)


def _print_samples(run: RunRecord, *, failed: bool, truncated: bool) -> None:
    silent = 0  # harnesses that keep no finish reason; the adapter's store has it
    for task in run.tasks:
        for line in _sample_lines(run.path / task.name / "samples.jsonl.zst"):
            sample = json.loads(line)
            silent += sample["finish_reason"] is None
            is_failed = sample["error"] is not None or sample["correct"] is False
            if (failed and not is_failed) or (truncated and sample["finish_reason"] != "length"):
                continue
            click.echo(json.dumps({"task": task.name, **sample}))
    if truncated and silent:
        click.echo(
            f"evaldock: {silent} samples do not say how their answer ended; "
            f"evaldock exchanges {run.path.name} --truncated shows every answer that was cut",
            err=True,
        )


def _sample_lines(path: Path) -> Iterator[bytes]:
    with contextlib.suppress(AbsentFileError):  # a task that failed has none
        yield from iterate_zst_lines(path)
