"""`evaldock check`."""

import json
from typing import cast, get_args

import click

from evaldock.cli.endpoint import Flags, probe_of
from evaldock_entrypoints.contract.framework import EndpointType
from evaldock_entrypoints.probe.survey import survey


@click.command()
@click.argument("target", metavar="URL|DOCUMENT")
@click.option("--model_id", help="Model name as the endpoint knows it; default: the only one it lists.")
@click.option(
    "--type",
    "endpoint_type",
    type=click.Choice(get_args(EndpointType)),
    help="Ask for this type only; default: for every type, and one must work.",
)
@click.option("--api_key_name", help="Name of the variable that holds the key.")
@click.option(
    "--timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Time for all of it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check(
    target: str,
    model_id: str | None,
    endpoint_type: str | None,
    api_key_name: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Say whether the endpoint at URL, or in DOCUMENT, is reachable, authorised and truthful.

    \b
    evaldock check http://localhost:8080/v1
    evaldock check http://localhost:8080/v1 --model_id m --type completions_logprob
    evaldock check eval.yaml --json
    """
    flags = Flags(model_id=model_id, type=cast(EndpointType | None, endpoint_type), api_key_name=api_key_name)
    probe, wanted = probe_of(target, flags, timeout_s=timeout_s)
    found = survey(probe, wanted, limit_s=timeout_s)
    click.echo(json.dumps(found.as_tree(), indent=2) if as_json else found.as_text())
    error = found.error()
    if error is not None:
        raise error
