"""`evaldock build`."""

import json

import click

from evaldock.cli.completion import image_names
from evaldock.supply.build import build_images


@click.command()
@click.argument("names", nargs=-1, shell_complete=image_names)
@click.option(
    "--base",
    help="Public base image, REGISTRY/REPOSITORY@sha256:…; later builds keep it. "
    '"bootstrap" goes back to one made from a Debian mirror.',
)
@click.option("--json", "as_json", is_flag=True, help="Print the images' pins as JSON.")
def build(names: tuple[str, ...], base: str | None, as_json: bool) -> None:
    """Build the images NAMES (default: all) and their parents; what is unchanged is not built again.

    \b
    evaldock build
    evaldock build lm-eval llamacpp
    """
    images = build_images(names, base=base, report=lambda text: click.echo(f"evaldock: {text}", err=True))
    if as_json:
        click.echo(json.dumps({name: image.model_dump() for name, image in images.items()}))
        return
    for name, image in sorted(images.items()):
        click.echo(f"{name:16} {image.version:12} {image.size_bytes / 1024**2:7.0f} MiB  {image.digest}")
