"""`evaldock quickstart`."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from evaldock.cli.documents import Given, read_given
from evaldock.cli.options import output_dir_option
from evaldock.cli.run import carry_out
from evaldock.compiler.images import needed_images
from evaldock.engines.select import auto_is_podman
from evaldock.session import make_plan, new_run_id
from evaldock.supply.build import build_images
from evaldock.supply.dockerd import own_daemon
from evaldock.supply.host import running_engine
from evaldock.supply.models import fetch_model
from evaldock.supply.paths import checkout_root
from evaldock_entrypoints.contract.layers import KeyPath
from evaldock_entrypoints.contract.reading import flag_layer

MODEL = "smollm2-135m-instruct"


@click.command()
@output_dir_option("Folder for the run's own folder.")
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
    model = fetch_model(MODEL)
    given = _given(model, output_dir, engine, overrides)
    match given.written.document.execution.engine:
        case "host":
            return _run(_given(model, output_dir, engine, [*overrides, *_safe_tasks(given)]))
        case "podman":
            return _build_and_run(given)
        case "auto" if not keep_engine and auto_is_podman():
            return _build_and_run(given)
        case _:
            return _run_in_docker(given, keep_engine=keep_engine)


def _given(model: Path, output_dir: Path, engine: str | None, overrides: Sequence[str]) -> Given:
    """Return quickstart's document for a model, with what the command line says; raises UsageError."""
    flags: dict[KeyPath, tuple[str, str | None]] = {
        ("deployment", "model_path"): ("quickstart's model", str(model)),
        ("output", "dir"): ("--output-dir", str(output_dir)),
        ("execution", "engine"): ("--engine", engine),
    }
    return read_given(
        [checkout_root() / "examples" / "quickstart.yaml"],
        config_dir=None,
        config_name=None,
        overrides=overrides,
        flags=flag_layer(flags),
    )


def _safe_tasks(given: Given) -> list[str]:
    """Return the override that leaves out the tasks that engine host refuses, where others remain."""
    plan = make_plan(given.written, run_id=new_run_id(), registry=given.registry)
    tasks = given.written.merged.tree["evaluation"]["tasks"]
    safe = [
        task
        for task, evaluation in zip(tasks, plan.evaluations, strict=True)
        if not any(unit.role == "scoring" for unit in evaluation.units)
    ]
    if plan.unsafe_code or len(safe) in (0, len(tasks)):
        return []
    _say("engine host leaves out what runs code of the model; docker and podman include it")
    return [f"evaluation.tasks={json.dumps(safe)}"]


def _run_in_docker(given: Given, *, keep_engine: bool) -> int:
    with running_engine(report=_say, keep=keep_engine) as host:
        code = _build_and_run(given)
    if not keep_engine and host == own_daemon().docker_host:
        _say("done; `evaldock quickstart --keep-engine` leaves the engine up for `evaldock run`")
    return code


def _build_and_run(given: Given) -> int:
    """Build what the document needs, then run it; return the exit code. No engine is started for it."""
    document, merged = given.written.document, given.written.merged
    build_images(list(needed_images(document, merged, given.registry)), report=_say)
    return _run(given)


def _run(given: Given) -> int:
    plan = make_plan(given.written, run_id=new_run_id(), registry=given.registry)
    return carry_out(plan, given.written, given.environ)


def _say(text: str) -> None:
    click.echo(f"evaldock: {text}", err=True)
