"""`evaldock conformance`."""

import importlib.util
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import click

from evaldock.cli.completion import image_names
from evaldock.conformance.verdict import as_table, as_tree, has_failed
from evaldock.plan import EngineName
from evaldock_entrypoints.contract.errors import ExitCode, UsageError

_TESTKIT = ("httptools", "orjson", "uvicorn")  # what the fake endpoint is made of
_LIMIT = 4


@click.command()
@click.argument("image", shell_complete=image_names)
@click.option("--task", help="Task to try; default: the first whose data is in the image.")
@click.option(
    "--limit_samples",
    type=click.IntRange(min=1),
    default=_LIMIT,
    show_default=True,
    help="Items of each run.",
)
@click.option(
    "--answers",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Answer table of the fake endpoint, for a harness or judge that cannot read filler; repeatable.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "docker", "podman"]),
    default="auto",
    show_default=True,
    help="Where its containers run.",
)
@click.option(
    "--output-dir", type=click.Path(path_type=Path), help="New folder to keep what the runs leave behind in."
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as JSON.")
def conformance(
    image: str,
    task: str | None,
    limit_samples: int,
    answers: tuple[Path, ...],
    engine: str,
    output_dir: Path | None,
    as_json: bool,
) -> int:
    """Try every promise of the contract on the harness image IMAGE, against an endpoint of its own.

    IMAGE is a name or alias of the catalogue, or a reference that the engine knows. The exit code is 4 where
    the image breaks a promise.

    \b
    evaldock conformance human-eval
    evaldock conformance lm-eval --task gsm8k --json
    evaldock conformance registry.example/me/sums:1 --output-dir tried
    """
    _refuse_missing_testkit()
    _refuse_used(output_dir)
    from evaldock.conformance.conform import conformance as tried

    with ExitStack() as stack:
        folder = output_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evaldock-")))
        verdicts = tried(
            image,
            folder=folder.absolute(),
            report=lambda text: click.echo(f"evaldock: {text}", err=True),
            task=task,
            limit=limit_samples,
            answers=answers,
            engine=cast(EngineName, engine),
        )
    click.echo(json.dumps(as_tree(verdicts), indent=2) if as_json else as_table(verdicts))
    return int(ExitCode.HARNESS if has_failed(verdicts) else ExitCode.COMPLETE)


def _refuse_missing_testkit() -> None:
    missing = [name for name in _TESTKIT if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"the fake endpoint lacks {', '.join(missing)}",
            where="evaldock conformance",
            next_step="pip install 'evaldock[testkit]'",
        )


def _refuse_used(folder: Path | None) -> None:
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} holds something already", where="--output-dir", next_step="name a folder that is new"
        )
