"""`evaldock ls tasks|images|backends|runs`."""

import json
from pathlib import Path
from typing import Any

import click

from evaldock.registry import load_registry


@click.group()
def ls() -> None:
    """List runs, tasks, images or backends."""


def _print(rows: list[dict[str, Any]], line: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(line.format(**row).rstrip())


@ls.command()
@click.option("--json", "as_json", is_flag=True)
@click.option("--harness", help="Only this harness.")
def tasks(as_json: bool, harness: str | None) -> None:
    """Every task: harness, endpoint types, few-shot, data licence."""
    rows = [
        {
            "name": f"{owner}.{task.name}",
            "harness": owner,
            "task": task.name,
            "endpoint_types": task.endpoint_types,
            "types": ",".join(task.endpoint_types),
            "capabilities": task.capabilities,
            "licenses": sorted({source.license for source in task.data}),
            "description": task.description,
        }
        for owner, task in load_registry().tasks
        if harness in (None, owner)
    ]
    _print(rows, "{name:28} {types:30} {description}", as_json)


@ls.command()
@click.option("--json", "as_json", is_flag=True)
def backends(as_json: bool) -> None:
    """Every serving backend that has an image."""
    rows = [
        {
            "name": name,
            "version": entry.version,
            "endpoint_types": entry.endpoint_types,
            "formats": entry.formats,
            "types": ",".join(entry.endpoint_types),
            "description": entry.description,
        }
        for name, entry in load_registry().backends.items()
    ]
    _print(rows, "{name:16} {version:10} {description}", as_json)


@ls.command()
@click.option("--json", "as_json", is_flag=True)
def images(as_json: bool) -> None:
    """Every image of the catalogue: built here, published, or neither."""
    from evaldock.supply.lock import read_lock

    registry, built = load_registry(), read_lock().images
    entries = {**registry.harnesses, **registry.backends}
    rows = [
        {
            "name": name,
            "version": entry.version,
            "origin": "built here" if name in built else "published" if entry.digests else "not built",
            "digest": built[name].digest if name in built else next(iter(entry.digests.values()), ""),
            "reference": built[name].reference if name in built else entry.repository,
        }
        for name, entry in entries.items()
    ]
    _print(rows, "{name:16} {version:12} {origin:12} {reference:40} {digest}", as_json)


@ls.command()
@click.option("--json", "as_json", is_flag=True)
@click.option("--output-dir", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
def runs(as_json: bool, output_dir: Path) -> None:
    """Runs in an output folder, newest first."""
    from evaldock.analysis.runs import list_runs

    rows = [
        {
            "run_id": record.run_id,
            "path": str(record.path),
            "tasks": {task.name: task.status for task in record.tasks},
            "states": ", ".join(f"{task.name}: {task.status}" for task in record.tasks),
        }
        for record in list_runs(output_dir)
    ]
    _print(rows, "{run_id:24} {states}", as_json)
