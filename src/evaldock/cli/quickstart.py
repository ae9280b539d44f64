"""`evaldock quickstart`."""

import json
from pathlib import Path

import click

from evaldock.cli.documents import Given, read_given
from evaldock.cli.run import carry_out
from evaldock.compiler.images import needed_images
from evaldock.document import NO_FLAGS
from evaldock.session import make_plan, new_run_id
from evaldock.supply.build import build_images
from evaldock.supply.dockerd import own_daemon
from evaldock.supply.host import running_engine
from evaldock.supply.models import fetch_model
from evaldock.supply.paths import checkout_root
from evaldock_entrypoints.contract.reading import flag_layer

MODEL = "smollm2-135m-instruct"


@click.command()
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Folder for the run's own folder.",
)
@click.option("--keep-engine", is_flag=True, help="Leave the dockerd running that this command starts.")
@click.option(
    "--engine",
    type=click.Choice(["auto", "docker", "podman", "host"]),
    help="host: no containers and no isolation; environments from the images' lock files.",
)
@click.option(
    "-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE", help="As of `evaldock run`."
)
def quickstart(output_dir: Path, keep_engine: bool, engine: str | None, overrides: tuple[str, ...]) -> int:
    """Build what is missing and evaluate a small real model on three real benchmarks, in containers.

    On a bare Debian or Ubuntu machine it installs Debian's docker.io and build tools (as root; it says so
    first) and runs its own dockerd for as long as it takes. Where an engine answers it uses that.

    \b
    evaldock quickstart
    evaldock quickstart --engine host
    """
    _say("needs about 6 GiB of disk and ten minutes on two cores the first time; engine host a quarter of it")
    settings = [f"deployment.model_path={fetch_model(MODEL)}", f"output.dir={output_dir}", *overrides]
    given = _given(settings, engine)
    if given.written.document.execution.engine == "host":
        return _run(_without_model_code(given, settings, engine))
    return _run_in_containers(given, keep_engine=keep_engine)


def _given(settings: list[str], engine: str | None) -> Given:
    return read_given(
        [checkout_root() / "examples" / "quickstart.yaml"],
        config_dir=None,
        config_name=None,
        overrides=settings,
        flags=flag_layer({("execution", "engine"): ("--engine", engine)}) if engine else NO_FLAGS,
    )


def _without_model_code(given: Given, settings: list[str], engine: str | None) -> Given:
    """Leave out the tasks that engine host refuses, where others remain."""
    plan = make_plan(given.written, run_id=new_run_id(), registry=given.registry)
    tasks = given.written.merged.tree["evaluation"]["tasks"]
    safe = [
        task
        for task, evaluation in zip(tasks, plan.evaluations, strict=True)
        if not any(unit.role == "scoring" for unit in evaluation.units)
    ]
    if plan.unsafe_code or len(safe) in (0, len(tasks)):
        return given
    _say("engine host leaves out what runs code of the model; docker and podman include it")
    return _given([*settings, f"evaluation.tasks={json.dumps(safe)}"], engine)


def _run_in_containers(given: Given, *, keep_engine: bool) -> int:
    document, merged = given.written.document, given.written.merged
    with running_engine(report=_say, keep=keep_engine) as host:
        build_images(list(needed_images(document, merged, given.registry)), report=_say)
        code = _run(given)
    if not keep_engine and host == own_daemon().docker_host:
        _say("done; `evaldock quickstart --keep-engine` leaves the engine up for `evaldock run`")
    return code


def _run(given: Given) -> int:
    plan = make_plan(given.written, run_id=new_run_id(), registry=given.registry)
    return carry_out(plan, given.written, given.environ)


def _say(text: str) -> None:
    click.echo(f"evaldock: {text}", err=True)
