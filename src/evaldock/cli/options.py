"""Options that several commands have alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from evaldock.cli.completion import run_ids

_Command = TypeVar("_Command", bound=Callable[..., Any])


def output_dir_option(meaning: str = "Folder that holds the runs.") -> Callable[[_Command], _Command]:
    """Give a command `--output-dir`, as the parameter output_dir."""
    return click.option(
        "--output-dir",
        type=click.Path(path_type=Path),
        default=Path("results"),
        show_default=True,
        help=meaning,
    )


def chooses_run(*, required: bool) -> Callable[[_Command], _Command]:
    """Give a command the argument RUN_ID and the folder to look in, as run_id and output_dir."""

    def decorate(command: _Command) -> _Command:
        argument = click.argument("run_id", required=required, shell_complete=run_ids)
        return argument(output_dir_option()(command))

    return decorate
