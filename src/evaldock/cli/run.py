"""`evaldock run` and `evaldock resume`."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import click

from evaldock.analysis.records import RunRecord
from evaldock.analysis.runs import find_run, iterate_runs, read_run
from evaldock.analysis.table import markdown_table
from evaldock.benchmark_data import with_fetched_data
from evaldock.cli.documents import Given, document_options, read_given, run_flags
from evaldock.cli.options import chooses_run
from evaldock.cli.show import events_for
from evaldock.document import Written
from evaldock.executors.outcome import worst
from evaldock.explain import explained
from evaldock.plan import Plan
from evaldock.preflight import refuse_unready, stops
from evaldock.session import execute, make_plan, new_run_id
from evaldock_entrypoints.contract import explain
from evaldock_entrypoints.contract.errors import InterruptedRunError, UsageError

_LOOKED_AT = 100  # runs that are looked at for an unfinished one of the same document

_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print the summary as JSON instead of the table."
)


@click.command()
@document_options
@click.option("--gpus", help="all, none, a count, or device ids such as 0,1.")
@click.option("--engine", type=click.Choice(["auto", "docker", "podman", "host"]), help="Default: auto.")
@click.option("--limit_samples", type=float, help="For every task: a number of items, or a share below 1.")
@click.option("--parallelism", type=int, help="For every task: requests in flight.")
@click.option("--seed", type=int, help="For every task.")
@click.option("--repeats", type=int, help="For every task: answers per item.")
@click.option("--output-dir", type=click.Path(), help="Folder for the run's own folder; default: results.")
@click.option("--allow-unpinned", is_flag=True, help="Take images named by a tag; marks the results.")
@click.option("--dry_run", "--dry-run", is_flag=True, help="Print the plan as JSON, start nothing.")
@click.option("--explain", is_flag=True, help="Print each value with where it was set, start nothing.")
@_JSON
def run(**flags: Any) -> int:
    """Run the evaluations of one or more DOCUMENTS, later ones over earlier ones.

    \b
    evaldock run eval.yaml
    evaldock run eval.yaml -o evaluation.tasks='["arc_easy", "gsm8k"]' --limit_samples 100
    evaldock run --config-dir examples --config-name quickstart --dry_run
    """
    if flags["explain"] and flags["dry_run"]:
        raise UsageError(
            "--explain and --dry_run each print an answer of their own",
            where="evaldock run",
            next_step="give one of them",
        )
    given = read_given(
        flags["documents"],
        config_dir=flags["config_dir"],
        config_name=flags["config_name"],
        overrides=flags["overrides"],
        flags=run_flags(flags),
    )
    if flags["explain"]:
        rows = explained(given.written, given.registry)
        click.echo(explain.as_json(rows) if flags["as_json"] else explain.as_text(rows))
        return 0
    written = given.written
    if not flags["dry_run"]:
        written = with_fetched_data(written, given.registry, given.environ, _say)
    plan = make_plan(
        written, run_id=new_run_id(), registry=given.registry, allow_unpinned=flags["allow_unpinned"]
    )
    if flags["dry_run"]:
        return _show_plan(plan, given)
    _name_unfinished(given)
    return carry_out(plan, written, given.environ, as_json=flags["as_json"])


@click.command()
@chooses_run(required=True)
@_JSON
def resume(run_id: str, output_dir: Path, as_json: bool) -> int:
    """Go on with the run whose id begins with RUN_ID: what is complete stays, the rest is asked again.

    \b
    evaldock resume 20260314T0926
    """
    record = find_run(output_dir, run_id)
    given = written_for(record)
    plan = make_plan(given.written, run_id=record.run_id, registry=given.registry, allow_unpinned=True)
    return carry_out(plan, given.written, given.environ, as_json=as_json)


def written_for(record: RunRecord) -> Given:
    """Return the run's own document; what it says of its folder counts less than where the folder is now."""
    here = run_flags({"output_dir": str(record.path.absolute().parent)})
    return read_given([record.path / "run.yaml"], config_dir=None, config_name=None, overrides=(), flags=here)


def carry_out(plan: Plan, written: Written, environ: Mapping[str, str], *, as_json: bool = False) -> int:
    """Execute a plan, show the table and the report's path; return the exit code."""
    _say_notes(plan)
    refuse_unready(plan, written.merged, environ, _say)
    run_dir = Path(plan.run_dir)
    try:
        with events_for(len(plan.evaluations)) as events:
            ends = execute(plan, events, environ, written.merged)
    except InterruptedRunError:
        if as_json and (run_dir / "summary.json").is_file():
            click.echo((run_dir / "summary.json").read_text(encoding="utf-8"))
        raise
    if as_json:
        click.echo((run_dir / "summary.json").read_text(encoding="utf-8"))
    else:
        click.echo(markdown_table(read_run(run_dir)))
        click.echo(f"report: {run_dir / 'report.html'}", err=True)
    return int(worst(ends))


def _say(text: str) -> None:
    click.echo(f"evaldock: {text}", err=True)


def _say_notes(plan: Plan) -> None:
    for note in plan.notes:
        _say(f"note: {note}")


def _show_plan(plan: Plan, given: Given) -> int:
    click.echo(plan.as_json())
    _say_notes(plan)
    for reason in stops(plan, given.written.merged, given.environ):
        click.echo(f"evaldock: note: a run would stop here: {reason}", err=True)
    return 0


def _name_unfinished(given: Given) -> None:
    """Say when an unfinished run of the same document exists."""
    output = Path(given.written.document.output.dir)
    for record in islice(iterate_runs(output), _LOOKED_AT):
        if record.document == given.written.merged.tree and any(
            task.status != "complete" for task in record.tasks
        ):
            click.echo(
                f"evaldock: run {record.run_id} of this document is unfinished; "
                f"`evaldock resume {record.run_id}` goes on with it",
                err=True,
            )
            return
