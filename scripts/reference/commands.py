"""docs/reference/cli.md: every command, from the objects that parse the command line."""

import inspect
from collections.abc import Iterator

import click
from scripts.reference.markdown import block, code, page, section, table

from evaldock.cli.main import UNBUILT, evaldock
from evaldock_entrypoints.contract.errors import ExitCode
from evaldock_entrypoints.run_eval.cli import run_eval
from evaldock_entrypoints.serve.cli import serve

_INTRODUCTION = """\
The commands of the host (`evaldock`) and those inside images (`run_eval`, `serve`).
`--help` behind any of them says the same.

- Results go to standard output; progress, notes and errors go to standard error.
- With `--json`, standard output holds one JSON value and nothing else, or, when the command failed before
  there was one, nothing. Errors are text on standard error; programs go by the exit code.
- Run ids may be shortened to a unique beginning. Options may be repeated where the table says so.
- `NO_COLOR` turns colours off. Where the output is no terminal, or with `TERM=dumb`, lines take the place of
  progress bars.
- `--debug` anywhere on the command line of `evaldock` adds a traceback to an error."""


def text() -> str:
    """Return the page."""
    roots = [("evaldock", evaldock), ("run_eval", run_eval), ("serve", serve)]
    commands = [part for name, command in roots for part in _sections(name, command, None)]
    return page("Commands", _INTRODUCTION, [_exit_codes(), *commands, _unbuilt()])


def _exit_codes() -> str:
    rows = [(str(int(code)), code.name.lower().replace("_", " ")) for code in ExitCode]
    return section("Exit codes", table(("code", "meaning"), rows), "[What each means](../exit-codes.md).")


def _sections(name: str, command: click.Command, parent: click.Context | None) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    yield _section(context)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from _sections(child, found, context)


def _section(context: click.Context) -> str:
    words, examples = described(context.command)
    options = [_option(found, context) for found in context.command.params if isinstance(found, click.Option)]
    usage = " ".join([context.command_path, *context.command.collect_usage_pieces(context)])
    return section(
        context.command_path,
        "\n\n".join(words),
        block(usage),
        f"For example:\n\n{block(examples)}" if examples else "",
        table(("option", "value", "default", "meaning"), options),
    )


def described(command: click.Command) -> tuple[list[str], str]:
    """Return the paragraphs of a command's help, and its examples: the paragraphs that are not wrapped."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    words = [" ".join(part.split()) for part in paragraphs if not part.startswith("\b")]
    return words, "\n".join(part.removeprefix("\b\n") for part in paragraphs if part.startswith("\b"))


def _option(option: click.Option, context: click.Context) -> tuple[str, str, str, str]:
    help_text = (option.help or "").rstrip(".")
    notes = [note for note in _notes(option) if note not in help_text.lower()]
    value = "" if option.is_flag else code(option.make_metavar(context))
    return (
        _spellings(option),
        value,
        _default(option),
        "; ".join(part for part in (help_text, *notes) if part),
    )


def _spellings(option: click.Option) -> str:
    """Return the option's names; of two that differ in - and _ only, the first."""
    names = {name.replace("-", "_"): name for name in reversed((*option.opts, *option.secondary_opts))}
    return ", ".join(code(name) for name in reversed(names.values()))


def _notes(option: click.Option) -> Iterator[str]:
    if option.multiple:
        yield "repeatable"
    if option.required:
        yield "required"


def _default(option: click.Option) -> str:
    default = option.to_info_dict()["default"]
    is_unset = default in (None, False, (), "") or callable(default)
    return "" if is_unset or "UNSET" in repr(default) else code(str(default))


def _unbuilt() -> str:
    names = ", ".join(code(f"evaldock {name}") for name in UNBUILT.split())
    sentence = f"They are not built: each exits with 2 and says so. {names}."
    return section("Not built yet in this version", sentence)
