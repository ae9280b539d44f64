"""`evaldock schema`."""

import json

import click

from evaldock.schema import SCHEMA_NAMES, json_schema


@click.command()
@click.argument("name", type=click.Choice(SCHEMA_NAMES), default="document")
def schema(name: str) -> None:
    """Print the JSON Schema (draft 2020-12) of the file called NAME (default: the document).

    An editor with a YAML language server checks and completes a document by it.

    \b
    evaldock schema > document.json
    evaldock schema framework
    """
    click.echo(json.dumps(json_schema(name), indent=2))
