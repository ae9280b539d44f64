"""`evaldock results`."""

from pathlib import Path

import click

from evaldock.analysis.runs import find_run, list_runs, read_run
from evaldock.analysis.table import markdown_table
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.files import read_jsonl_zst


@click.command()
@click.argument("run_id", required=False)
@click.option("--output-dir", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print summary.json.")
@click.option("--samples", is_flag=True, help="Print the samples as JSON lines.")
@click.option("--failed", is_flag=True, help="With --samples: only wrong or errored ones.")
@click.option("--truncated", is_flag=True, help="With --samples: only those that the length limit cut.")
def results(
    run_id: str | None, output_dir: Path, as_json: bool, samples: bool, failed: bool, truncated: bool
) -> None:
    """Show the results of the run whose id begins with RUN_ID (default: the newest)."""
    path = _path(run_id, output_dir)
    if samples:
        _print_samples(path, failed=failed, truncated=truncated)
    elif as_json:
        click.echo((path / "summary.json").read_text(encoding="utf-8"))
    else:
        click.echo(markdown_table(read_run(path)))
        click.echo(f"report: {path / 'report.html'}", err=True)


def _path(run_id: str | None, output_dir: Path) -> Path:
    if run_id:
        return find_run(output_dir, run_id).path
    newest = next(iter(list_runs(output_dir)), None)
    if newest is None:
        raise UsageError(
            f"there is no run in {output_dir}", next_step="evaldock run eval.yaml, or --output-dir"
        )
    return newest.path


def _print_samples(path: Path, *, failed: bool, truncated: bool) -> None:
    import json

    for file in sorted(path.glob("*/samples.jsonl.zst")):
        for sample in read_jsonl_zst(file):
            is_failed = sample["error"] is not None or sample["correct"] is False
            if (failed and not is_failed) or (truncated and sample["finish_reason"] != "length"):
                continue
            click.echo(json.dumps({"task": file.parent.name, **sample}, ensure_ascii=False))
