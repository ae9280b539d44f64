"""`evaldock clean`."""

import json
from collections.abc import Iterator

import click

from evaldock.engines.docker import DockerEngine, engine_failures
from evaldock.engines.host_leftovers import sweep
from evaldock.engines.podman import PodmanEngine
from evaldock.engines.podman_command import PodmanCommand, find_podman
from evaldock.supply.cleaning import clean_images
from evaldock.supply.environments import remove_environments
from evaldock.supply.host import find_engine, stop_own_engine
from evaldock_entrypoints.contract.errors import ExecutionError


@click.command()
@click.option("--engine", is_flag=True, help="Also stop the dockerd that evaldock started and kept.")
@click.option("--images", is_flag=True, help="Also remove images and layers that no newest build needs.")
@click.option("--environments", is_flag=True, help="Also remove the environments of engine host.")
@click.option("--json", "as_json", is_flag=True, help="Print what was removed as a JSON list.")
def clean(engine: bool, images: bool, environments: bool, as_json: bool) -> None:
    """Remove containers, networks and processes of runs that were killed.

    \b
    evaldock clean
    evaldock clean --engine --images
    """
    lines: list[str] = []
    say = lines.append if as_json else click.echo
    for name in _leftovers():
        say(f"removed {name}")
    if environments:
        say(f"environments of engine host: freed {remove_environments() / 1024**2:.0f} MiB")
    if images:
        clean_images(report=say)
    if engine and stop_own_engine():
        say("stopped evaldock's own dockerd")
    if as_json:
        click.echo(json.dumps(lines))


def _leftovers() -> Iterator[str]:
    """Sweep every engine that works here, and yield what was removed."""
    host = find_engine()
    if host is not None:
        with engine_failures(host), DockerEngine(host, "clean") as docker:
            yield from docker.sweep()
    if (podman := _podman()) is not None:
        with PodmanEngine(podman, "clean") as engine:
            yield from engine.sweep()
    yield from sweep()


def _podman() -> PodmanCommand | None:
    try:
        return find_podman()
    except ExecutionError:  # none, or one that no run could have used
        return None
