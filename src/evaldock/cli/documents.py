"""What the commands that take documents have in common: their options, and reading what was given."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from evaldock.document import NO_FLAGS, Written, find_config, read_documents, written
from evaldock.registry import Registry, load_registry
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import KeyPath, Layer
from evaldock_entrypoints.contract.reading import flag_layer

_Command = TypeVar("_Command", bound=Callable[..., Any])
_EVERY: KeyPath = ("evaluation", "params")


@dataclass(frozen=True, kw_only=True)
class Given:
    """A document as written, the catalogue it was read with, and the environment with keys from -o."""

    written: Written
    registry: Registry
    environ: Mapping[str, str] = field(repr=False)


def document_options(command: _Command) -> _Command:
    """Add DOCUMENTS, --config-dir, --config-name and -o."""
    for option in (
        click.option(
            "-o",
            "--override",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="Laid over everything; repeatable. Null unsets, tasks[0].name reaches into a list.",
        ),
        click.option("--config-name", help="A document of that folder, with or without .yaml."),
        click.option(
            "--config-dir", type=click.Path(path_type=Path), help="Folder of documents; default: here."
        ),
        click.argument("documents", nargs=-1, type=click.Path(path_type=Path)),
    ):
        command = option(command)
    return command


def read_given(
    documents: Sequence[Path],
    *,
    config_dir: Path | None,
    config_name: str | None,
    overrides: Sequence[str],
    flags: Layer = NO_FLAGS,
) -> Given:
    """Read what the options of `document_options` name, saying on stderr what is to be said of it.

    Raises UsageError.
    """
    paths = list(documents)
    if config_name:
        paths.append(find_config(config_dir or Path(), config_name))
    elif config_dir:
        raise UsageError(
            "--config-dir names a folder and no document",
            where=f"--config-dir {config_dir}",
            next_step="add --config-name NAME",
        )
    if not paths and not overrides:
        command = click.get_current_context().command_path
        raise UsageError(
            "no document given", where=command, next_step=f"{command} eval.yaml; examples/ has some"
        )
    read = read_documents(paths, overrides, flags)
    for note in read.notes:
        click.echo(f"evaldock: note: {note}", err=True)
    registry = load_registry()
    return Given(
        written=written(read.merged, Path.cwd(), registry),
        registry=registry,
        environ={**os.environ, **read.keys},
    )


def run_flags(flags: Mapping[str, Any]) -> Layer:
    """Return the layer of the flags that stand for keys of the document; absent ones count as not given."""
    paths: dict[str, KeyPath] = {
        "gpus": ("execution", "gpus"),
        "engine": ("execution", "engine"),
        "output_dir": ("output", "dir"),
        **{name: (*_EVERY, name) for name in ("limit_samples", "parallelism", "seed", "repeats")},
    }
    values = {name: flags.get(name) for name in paths}
    if values["gpus"] is not None:
        values["gpus"] = parse_gpus(values["gpus"])
    spelt = {"output_dir": "--output-dir"}  # as `evaldock run` spells it; the others have underscores
    return flag_layer({path: (spelt.get(name, f"--{name}"), values[name]) for name, path in paths.items()})


def parse_gpus(text: str) -> Any:
    """Return all, none, a count, or the device ids of `0,1` (`0,` is the one device 0); raises UsageError."""
    if text in ("all", "none"):
        return text
    numbers = [number.strip() for number in text.split(",")]
    ids = numbers[:-1] if numbers[-1] == "" else numbers
    if not ids or not all(number.isdigit() for number in ids):
        raise UsageError(
            f'--gpus "{text}" is not all, none, a count or device ids',
            where=f"--gpus {text}",
            next_step="--gpus all, --gpus 2, or --gpus 0,1",
        )
    return [int(number) for number in ids] if len(numbers) > 1 else int(text)
