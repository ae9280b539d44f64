"""`evaldock check`."""

import os
from typing import cast

import click

from evaldock_entrypoints.contract.endpoint import endpoint_at
from evaldock_entrypoints.contract.framework import EndpointType
from evaldock_entrypoints.probe import Probe, key_value, wait_until_ready


@click.command()
@click.argument("url")
@click.option("--model_id", required=True, help="Model name as the endpoint knows it.")
@click.option(
    "--type",
    "endpoint_type",
    type=click.Choice(["chat", "completions", "completions_logprob", "embedding"]),
    default="chat",
    show_default=True,
)
@click.option("--api_key_name", help="Name of the variable that holds the key.")
@click.option("--wait_s", type=float, default=0.0, show_default=True, help="Poll until ready, this long.")
def check(url: str, model_id: str, endpoint_type: str, api_key_name: str | None, wait_s: float) -> None:
    """Probe the endpoint at URL: reachable, authorised, and truthful for its type.

    \b
    evaldock check http://localhost:8080/v1 --model_id m --type completions_logprob
    """
    endpoint = endpoint_at(
        url,
        model_id=model_id,
        endpoint_type=cast(EndpointType, endpoint_type),
        api_key_name=api_key_name,
    )
    wait_until_ready(Probe(endpoint=endpoint, api_key=key_value(api_key_name, os.environ)), wait_s)
    click.echo(f"{endpoint.url}: {endpoint_type} answers as it should")
