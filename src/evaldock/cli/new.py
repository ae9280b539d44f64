"""`evaldock new harness`."""

from pathlib import Path

import click

from evaldock.registry import load_registry
from evaldock.scaffold import module_name, new_harness
from evaldock.supply.paths import checkout_root


@click.group()
def new() -> None:
    """Begin a folder of your own with one that works.

    \b
    evaldock new harness my-harness
    """


@new.command()
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    help="Folder that gets the new one; default: harnesses/ of the checkout.",
)
def harness(name: str, into: Path | None) -> None:
    """Make the folder NAME of a small harness that builds, passes its test and keeps the contract.

    \b
    evaldock new harness my-harness
    evaldock new harness my-harness --into drafts
    """
    folder = new_harness(name, into or checkout_root() / "harnesses", load_registry())
    test = folder / f"test_{module_name(name)}.py"
    click.echo(f"{folder}")
    click.echo(
        f"evaldock: next: pytest {test}, make generate, evaldock build {name}, evaldock conformance {name}",
        err=True,
    )
