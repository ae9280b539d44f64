"""The `evaldock` command: imports a command's module when it is used, turns errors into exit codes."""

import importlib
import sys
import traceback

import click

from evaldock_entrypoints.contract.errors import EvaldockError, ExitCode, internal_error

# command → (module, one line of help). A module is imported only when its command is used.
COMMANDS = {
    "quickstart": ("quickstart", "Build what is missing and evaluate a small real model."),
    "run": ("run", "Run the evaluations of a document."),
    "resume": ("run", "Go on with an interrupted or incomplete run."),
    "ls": ("ls", "List runs, tasks, images or backends."),
    "results": ("results", "Show a run's results."),
    "check": ("check", "Probe an endpoint."),
    "doctor": ("doctor", "Say what this machine lacks, and the command that mends it."),
    "build": ("build", "Build images from this checkout."),
    "clean": ("clean", "Remove what killed runs left behind; stop our own engine."),
}
UNBUILT = """
    status logs kill rm info exchanges report compare gate rescore replay diff verify lock push pull mirror
    bundle data model deploy query conformance render schema export new
"""


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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])
        with formatter.section("Not built yet in this version"):
            formatter.write_text(", ".join(UNBUILT.split()))


def _unbuilt(name: str) -> click.Command:
    @click.command(name, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
    def refuse() -> None:
        raise click.UsageError(f"`evaldock {name}` is not built yet in this version")

    return refuse


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="evaldock")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def evaldock(context: click.Context, /, debug: bool) -> None:
    """Evaluate language models: every harness and serving backend is a pinned container image.

    \b
    evaldock quickstart
    evaldock run eval.yaml -o evaluation.tasks='["arc_easy"]'
    evaldock results
    """
    context.obj = {"debug": debug}


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with the contract's code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = evaldock.main(arguments, prog_name="evaldock", standalone_mode=False)
        sys.exit(int(code or 0))
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(int(ExitCode.USAGE))
    except (click.Abort, KeyboardInterrupt):
        sys.exit(int(ExitCode.INTERRUPTED))
    except EvaldockError as error:
        if "--debug" in arguments:
            traceback.print_exc()
        click.echo(error.render(), err=True)
        sys.exit(int(error.exit_code))
    except Exception as error:  # noqa: BLE001 - the last resort: a sentence for users, a traceback on demand
        if "--debug" in arguments:
            traceback.print_exc()
        click.echo(internal_error(error).render(), err=True)
        sys.exit(int(ExitCode.INTERNAL))
