"""`evaldock clean`."""

import click

from evaldock.engines.docker import DockerEngine
from evaldock.supply.cleaning import clean_images
from evaldock.supply.host import find_engine, stop_own_engine


@click.command()
@click.option("--engine", is_flag=True, help="Also stop the dockerd that evaldock started and kept.")
@click.option("--images", is_flag=True, help="Also remove images and layers that no newest build needs.")
def clean(engine: bool, images: bool) -> None:
    """Remove containers and networks of runs that were killed.

    \b
    evaldock clean
    evaldock clean --engine --images
    """
    host = find_engine()
    if host is not None:
        with DockerEngine(host, "clean") as docker:
            for name in docker.sweep():
                click.echo(f"removed {name}")
    if images:
        clean_images(report=click.echo)
    if engine and stop_own_engine():
        click.echo("stopped evaldock's own dockerd")
