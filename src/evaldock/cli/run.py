"""`evaldock run` and `evaldock resume`."""

from pathlib import Path
from typing import Any

import click

from evaldock.analysis.runs import find_run, iterate_runs, read_run
from evaldock.analysis.table import markdown_table
from evaldock.cli.show import events_for
from evaldock.document import find_config, read_documents, validated, with_limit
from evaldock.executors.outcome import worst
from evaldock.plan import Plan
from evaldock.session import execute, make_plan, new_run_id
from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.loading import Layer


@click.command()
@click.argument("documents", nargs=-1, type=click.Path(path_type=Path))
@click.option("--config-dir", type=click.Path(path_type=Path), help="Folder of documents.")
@click.option("--config-name", help="A document of that folder.")
@click.option("-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE", help="Repeatable.")
@click.option("--gpus", help="all, none, a count, or device ids such as 0,1.")
@click.option("--limit_samples", type=float, help="For every task: a number of items, or a share below 1.")
@click.option("--dry_run", "--dry-run", is_flag=True, help="Print the plan, start nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON instead of the table.")
def run(documents: tuple[Path, ...], config_dir: Path | None, config_name: str | None, **flags: Any) -> int:
    """Run the evaluations of one or more DOCUMENTS, later ones over earlier ones.

    \b
    evaldock run eval.yaml
    evaldock run eval.yaml -o evaluation.tasks='["arc_easy", "gsm8k"]' --limit_samples 100
    evaldock run --config-dir examples --config-name quickstart --dry_run
    """
    paths = list(documents)
    if config_name:
        paths.append(find_config(config_dir or Path(), config_name))
    if not paths and not flags["overrides"]:
        raise UsageError("no document given", next_step="evaldock run eval.yaml; examples/ has some")
    merged = with_limit(read_documents(paths, flags["overrides"], _flag_layer(flags)), flags["limit_samples"])
    document, tree = validated(merged, Path.cwd())
    plan = make_plan(document, tree, run_id=new_run_id())
    if flags["dry_run"]:
        click.echo(plan.as_json())
        return 0
    _name_unfinished(document, tree)
    return carry_out(plan, as_json=flags["as_json"])


@click.command()
@click.argument("run_id")
@click.option("--output-dir", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON instead of the table.")
def resume(run_id: str, output_dir: Path, as_json: bool) -> int:
    """Go on with the run whose id begins with RUN_ID: what is complete stays, the rest is asked again."""
    record = find_run(output_dir, run_id)
    merged = read_documents([record.path / "run.yaml"], [])
    document, tree = validated(merged, Path.cwd())
    return carry_out(make_plan(document, tree, run_id=record.run_id), as_json=as_json)


def carry_out(plan: Plan, *, as_json: bool = False) -> int:
    """Execute a plan, show the table and the report's path; return the exit code."""
    with events_for(len(plan.evaluations)) as events:
        events.step(f"run {plan.run_id}, results in {plan.run_dir}")
        ends = execute(plan, events)
    run_dir = Path(plan.run_dir)
    if as_json:
        click.echo((run_dir / "summary.json").read_text(encoding="utf-8"))
    else:
        click.echo(markdown_table(read_run(run_dir)))
        click.echo(f"report: {run_dir / 'report.html'}", err=True)
    return int(worst(ends))


def _name_unfinished(document: Document, tree: dict[str, Any]) -> None:
    """Say when an unfinished run of the same document exists."""
    for record in iterate_runs(Path(document.output.dir)):
        if record.document == tree and any(task.status != "complete" for task in record.tasks):
            click.echo(
                f"evaldock: run {record.run_id} of this document is unfinished; "
                f"`evaldock resume {record.run_id}` goes on with it",
                err=True,
            )
            return


def _flag_layer(flags: dict[str, Any]) -> Layer:
    tree: dict[str, Any] = {}
    if flags["gpus"] is not None:
        tree["execution"] = {"gpus": _gpus(flags["gpus"])}
    return Layer(tree=tree, name="flag")


def _gpus(text: str) -> Any:
    if text in ("all", "none"):
        return text
    numbers = text.split(",")
    if not all(number.strip().isdigit() for number in numbers):
        raise UsageError(f'--gpus "{text}" is not all, none, a count or device ids', next_step="--gpus 0,1")
    return [int(number) for number in numbers] if len(numbers) > 1 else int(text)
