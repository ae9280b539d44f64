"""`evaldock quickstart`."""

from pathlib import Path

import click

from evaldock.cli.run import carry_out
from evaldock.compiler import needed_images
from evaldock.document import read_documents, validated
from evaldock.registry import load_registry
from evaldock.session import make_plan, new_run_id
from evaldock.supply.build import build_images
from evaldock.supply.dockerd import own_daemon
from evaldock.supply.host import running_engine
from evaldock.supply.models import fetch_model
from evaldock.supply.paths import checkout_root

MODEL = "smollm2-135m-instruct"


@click.command()
@click.option("--output-dir", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--keep-engine", is_flag=True, help="Leave the dockerd running that this command starts.")
@click.option(
    "-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE", help="As of `evaldock run`."
)
def quickstart(output_dir: Path, keep_engine: bool, overrides: tuple[str, ...]) -> int:
    """Build what is missing and evaluate a small real model on three real benchmarks, in containers.

    On a bare Debian or Ubuntu machine it installs Debian's docker.io and build tools (as root; it says so
    first) and runs its own dockerd for as long as it takes. Where an engine answers it uses that.
    """
    click.echo("evaldock: needs about 6 GiB of disk and ten minutes on two cores the first time", err=True)
    document_path = checkout_root() / "examples" / "quickstart.yaml"
    model = fetch_model(MODEL)
    settings = [f"deployment.model_path={model}", f"output.dir={output_dir}", *overrides]
    document, tree = validated(read_documents([document_path], settings), Path.cwd())
    registry = load_registry()
    with running_engine(report=_say, keep=keep_engine) as host:
        build_images(needed_images(document, registry), report=_say)
        code = carry_out(make_plan(document, tree, run_id=new_run_id(), registry=registry))
    if not keep_engine and host == own_daemon().docker_host:
        _say("done; `evaldock quickstart --keep-engine` leaves the engine up for `evaldock run`")
    return code


def _say(text: str) -> None:
    click.echo(f"evaldock: {text}", err=True)
