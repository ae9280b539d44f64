"""The `evaldock` command: imports a command's module when it is used, turns errors into exit codes."""

import importlib
import os
import select
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from evaldock_entrypoints.command_line import began, did_you_mean, end, run_command
from evaldock_entrypoints.contract.errors import (
    ExitCode,
    UsageError,
    internal_error,
)

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PROGRAM = "evaldock"

# command → (module, one line of help). A module is imported only when its command is used.
COMMANDS = {
    "quickstart": ("quickstart", "Build what is missing and evaluate a small real model."),
    "run": ("run", "Run the evaluations of a document."),
    "resume": ("run", "Go on with an interrupted or incomplete run."),
    "ls": ("ls", "List runs, tasks, images or backends."),
    "results": ("results", "Show a run's results."),
    "exchanges": ("exchanges", "Show what a run asked and was answered."),
    "check": ("check", "Say whether an endpoint is reachable, authorised and truthful."),
    "deploy": ("deploy", "Serve a model without evaluating."),
    "query": ("query", "Send one prompt to an endpoint."),
    "doctor": ("doctor", "Say what this machine lacks, and the command that mends it."),
    "build": ("build", "Build images from this checkout."),
    "data": ("data", "Fetch and verify benchmark data that images do not carry."),
    "conformance": ("conformance", "Try every promise of the contract on an image."),
    "new": ("new", "Begin a folder of your own."),
    "clean": ("clean", "Remove what killed runs left behind; stop our own engine."),
    "schema": ("schema", "Print the JSON Schema of a file."),
    "completion": ("completion", "Print a shell's completion script."),
}
UNBUILT = """
    status logs kill rm info report compare gate rescore replay diff verify lock push pull mirror
    bundle model render export
"""


class _PipeError(Exception):
    """A pipe broke: perhaps that of standard output. click would end with 1 and say nothing."""


class _Commands(click.Group):
    """A group whose commands live in modules of their own."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module = importlib.import_module(f"evaldock.cli.{COMMANDS[cmd_name][0]}")
            command: click.Command = getattr(module, cmd_name)
            return command
        if cmd_name in UNBUILT.split():
            return _unbuilt(cmd_name)
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _PipeError from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            step = did_you_mean(args[0], COMMANDS) or "evaldock --help lists the commands"
            raise UsageError(f'no command "{args[0]}"', where=began(args, PROGRAM), next_step=step)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Complete the names of commands without importing them."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        names = [name for name in COMMANDS if name.startswith(incomplete)]
        return [CompletionItem(name, help=COMMANDS[name][1]) for name in names]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])
        with formatter.section("Not built yet in this version"):
            formatter.write_text(", ".join(UNBUILT.split()))


def _unbuilt(name: str) -> click.Command:
    @click.command(name, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
    def refuse() -> None:
        raise UsageError(
            f"`evaldock {name}` is not built yet in this version",
            where=f"{PROGRAM} {name}",
            next_step="evaldock --help lists what is",
        )

    return refuse


def _choose_registry(_: click.Context, __: click.Parameter, path: str | None) -> None:
    if path is not None:
        os.environ["EVALDOCK_REGISTRY_FILE"] = path  # for whoever reads the catalogue, however late


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="evaldock")
@click.option("--debug", is_flag=True, help="Show tracebacks; also behind a command.")
@click.option(
    "--registry",
    metavar="FILE",
    expose_value=False,
    callback=_choose_registry,
    help="Another catalogue of images than the built-in one ($EVALDOCK_REGISTRY_FILE).",
)
def evaldock(debug: bool) -> None:
    """Evaluate language models: every harness and serving backend is a pinned container image.

    Results go to standard output, all else to standard error. `evaldock COMMAND --help` shows examples.

    \b
    evaldock quickstart
    evaldock run eval.yaml -o evaluation.tasks='["arc_easy"]'
    evaldock results
    """


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with the contract's code."""
    signal.signal(signal.SIGTERM, _terminated)  # as Ctrl-C: what is held is given back on the way out
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        run_command(evaldock, arguments, PROGRAM, handled=_PipeError)
    except _PipeError as error:
        _end_without_reader()
        end(internal_error(error), PROGRAM)


def _terminated(_: int, __: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _end_without_reader() -> None:
    """End quietly where nobody reads standard output any more, as in `evaldock … | head -1`."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if any(flags & select.POLLERR for _, flags in poll.poll(0)):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more
        sys.exit(int(ExitCode.INTERRUPTED))
