"""`evaldock deploy`."""

import json
import sys
from typing import Any

import click

from evaldock.cli.documents import document_options, read_given, run_flags
from evaldock.engines.select import engine_for
from evaldock.executors.serving import Launcher, refuse_used_port, serve_until_told
from evaldock.plan import Plan
from evaldock.preflight import refuse_unready
from evaldock.session import make_serving_plan, new_run_id
from evaldock_entrypoints.contract.document import Document


@click.command()
@document_options
@click.option("--gpus", help="all, none, a count, or device ids such as 0,1.")
@click.option("--engine", type=click.Choice(["auto", "docker", "podman", "host"]), help="Default: auto.")
@click.option("--json", "as_json", is_flag=True, help="Print the address and what goes with it as JSON.")
def deploy(**flags: Any) -> None:
    """Serve a document's deployment without evaluating, until Ctrl-C or SIGTERM.

    Prints the address once the model answers; only this machine reaches it (127.0.0.1, deployment.port).

    \b
    evaldock deploy eval.yaml
    evaldock deploy -o deployment.type=llamacpp -o deployment.model_path=m.gguf -o deployment.port=8137
    """
    given = read_given(
        flags["documents"],
        config_dir=flags["config_dir"],
        config_name=flags["config_name"],
        overrides=flags["overrides"],
        flags=run_flags(flags),
    )
    plan = make_serving_plan(given.written, run_id=new_run_id())
    refuse_used_port(plan)
    refuse_unready(plan, given.written.merged, given.environ, _say)
    with engine_for(plan, _say) as engine:
        launcher = Launcher(
            plan=plan,
            engine=engine,
            step=_say,
            environ=given.environ,
            interrupted_step="type the same command again",
        )
        document = given.written.document
        serve_until_told(
            launcher, ready=lambda: _announce(document, plan, launcher, as_json=flags["as_json"])
        )


def _announce(document: Document, plan: Plan, launcher: Launcher, *, as_json: bool) -> None:
    url = f"http://127.0.0.1:{document.deployment.port}/v1"
    name = document.served_model_name()
    facts = {"url": url, "model_id": name, "run_id": plan.run_id, "log": str(launcher.log_path)}
    click.echo(json.dumps(facts) if as_json else url)
    sys.stdout.flush()
    _say(f'serving "{name}"; its log: {launcher.log_path}')
    _say(f'Ctrl-C stops it; try: evaldock query {url} "What is 2 + 2?"')


def _say(text: str) -> None:
    click.echo(f"evaldock: {text}", err=True)
