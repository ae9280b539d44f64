"""`evaldock ls tasks|images|backends|runs`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from evaldock.catalogue_file import TaskRow, catalogued_tasks
from evaldock.cli.options import output_dir_option

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")


@click.group()
def ls() -> None:
    """List runs, tasks, images or backends.

    \b
    evaldock ls tasks --harness lm-eval
    evaldock ls images --json
    evaldock ls runs --output-dir results
    """


def _print(rows: Sequence[Mapping[str, Any]], columns: Iterable[str], as_json: bool) -> None:
    """Print the rows whole as JSON, else these columns of them, each as wide as its widest word."""
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        click.echo("  ".join(map(str.ljust, line, widths)).rstrip())


def _cell(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


@ls.command()
@_AS_JSON
@click.option("--harness", help="Only this harness, by its name or an alias.")
@click.option("--image", metavar="REF", help="Of this image instead of the catalogue; it is not run.")
def tasks(as_json: bool, harness: str | None, image: str | None) -> None:
    """Every task: harness, endpoint types, needed capabilities, data licences.

    REF is the name of an image of ours, a reference that the container engine or a registry knows, or
    docker://…, docker-daemon:…, oci:FOLDER[:NAME] to say which.

    \b
    evaldock ls tasks
    evaldock ls tasks --harness lm_eval --json
    evaldock ls tasks --image registry.example/me/lm-eval@sha256:…
    """
    rows = catalogued_tasks() if image is None else _tasks_of(image)
    wanted = None if harness is None else _harness_name(harness, rows)
    kept = [row._asdict() for row in rows if wanted in (None, row.harness)]
    _print(kept, ("name", "endpoint_types", "description"), as_json)


def _tasks_of(image: str) -> list[TaskRow]:
    from evaldock.supply.image_tasks import tasks_of_image

    return tasks_of_image(image)


def _harness_name(harness: str, rows: Iterable[TaskRow]) -> str:
    """Return the harness that is meant; raises UsageError where no listed task has it."""
    known = {row.harness for row in rows}
    if harness in known:
        return harness
    from evaldock.registry import load_registry
    from evaldock_entrypoints.contract.errors import UsageError

    owner = load_registry().image_name(harness)
    if owner in known:
        return owner
    raise UsageError(
        f'no listed task has the harness "{harness}"',
        where=f"--harness {harness}",
        next_step=f"one of: {', '.join(sorted(known))}",
    )


@ls.command()
@_AS_JSON
def backends(as_json: bool) -> None:
    """Every serving backend that has an image.

    \b
    evaldock ls backends
    evaldock ls backends --json
    """
    from evaldock.registry import load_registry

    rows = [
        {
            "name": name,
            "aliases": entry.aliases,
            "version": entry.version,
            "endpoint_types": entry.endpoint_types,
            "formats": entry.formats,
            "gpus": entry.gpus,
            "description": entry.description,
        }
        for name, entry in load_registry().backends.items()
    ]
    _print(rows, ("name", "version", "description"), as_json)


@ls.command()
@_AS_JSON
def images(as_json: bool) -> None:
    """Every image of the catalogue: where a run would take it from, and its other names.

    The origin is "built here", "registry" or "missing"; mirrors are tried before the reference.

    \b
    evaldock ls images
    evaldock ls images --json
    """
    from evaldock.pins import local_platform, resolve
    from evaldock.registry import load_registry
    from evaldock.supply.lock import built_pins

    registry, built = load_registry(), built_pins()
    pins = {name: resolve(name, registry, built, local_platform()) for name in registry.images}
    rows = [
        {
            "name": name,
            "kind": registry.images[name].kind,
            "aliases": registry.images[name].aliases,
            "version": pin.version,
            "origin": pin.origin,
            "reference": pin.reference,
            "digest": pin.digest,
        }
        for name, pin in pins.items()
    ]
    _print(rows, ("name", "origin", "reference", "aliases"), as_json)


@ls.command()
@_AS_JSON
@output_dir_option()
def runs(as_json: bool, output_dir: Path) -> None:
    """Runs in an output folder, newest first.

    \b
    evaldock ls runs
    evaldock ls runs --output-dir results --json
    """
    from evaldock.analysis.runs import list_runs

    if not output_dir.is_dir():
        click.echo(f"evaldock: there is no folder {output_dir}, so there are no runs in it", err=True)
    rows = [
        {
            "run_id": record.run_id,
            "path": str(record.path),
            "tasks": {task.name: task.status for task in record.tasks},
            "states": ", ".join(f"{task.name}: {task.status}" for task in record.tasks),
        }
        for record in list_runs(output_dir)
    ]
    _print(rows, ("run_id", "states"), as_json)
