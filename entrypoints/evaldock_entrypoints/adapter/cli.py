"""The command line `adapter`: the proxy of a run, in a process of its own."""

import asyncio
import ctypes
import gc
import json
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

import click
import uvloop
from pydantic import ValidationError

from evaldock_entrypoints.adapter.server import running
from evaldock_entrypoints.command_line import run_command
from evaldock_entrypoints.contract.adapter import AdapterSettings
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.wording import reason

PROGRAM = "adapter"
_PR_SET_DUMPABLE = 4  # linux/prctl.h


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--settings", "path", type=click.Path(path_type=Path), required=True, help="Its settings, JSON."
)
@click.option("--until_stdin_ends", is_flag=True, help="Stop when standard input is closed.")
def adapter(path: Path, *, until_stdin_ends: bool) -> None:
    """Stand between harnesses and endpoints until SIGTERM.

    Keys are taken from the environment, from the variables that the settings name.
    """
    _hide_environment()
    settings = _read(path)
    uvloop.run(_serve(settings, until_stdin_ends=until_stdin_ends))


def _read(path: Path) -> AdapterSettings:
    try:
        return AdapterSettings.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UsageError(
            f"the adapter's settings cannot be read: {reason(error)}",
            where=str(path),
            next_step="evaldock writes them; docs/architecture.md says what they hold",
        ) from error


async def _serve(settings: AdapterSettings, *, until_stdin_ends: bool) -> None:
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    if until_stdin_ends:  # whoever started us is gone, even if it was killed
        loop.add_reader(sys.stdin.fileno(), told.set)
    async with running(settings, os.environ) as status:
        _collect_seldom()
        click.echo(json.dumps(status))
        await told.wait()


def _collect_seldom() -> None:
    """Have the collector of cycles look less often, and not at what lives as long as the process.

    Requests leave next to no cycles; looking for them took 5 % of the processor time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _hide_environment() -> None:
    """Keep the environment, which holds keys, from other processes of this user (man 2 prctl)."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with the contract's code."""
    run_command(adapter, list(sys.argv[1:] if argv is None else argv), PROGRAM)


if __name__ == "__main__":
    main()
