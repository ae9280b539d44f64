"""Says click's own refusals in the form of all other errors."""

import difflib
from collections.abc import Iterable, Sequence

import click

from evaldock_entrypoints.contract.errors import UsageError

PROGRAM = "evaldock"


def usage_error(error: click.ClickException, arguments: Sequence[str]) -> UsageError:
    """Return what click refused as what / where / next; `arguments` is the command line."""
    path = _command_path(error, arguments)
    meant: Sequence[str] = getattr(error, "possibilities", None) or ()
    return UsageError(
        _message(error),
        where=path,
        next_step=_question(meant) if meant else f"{path} --help",
    )


def _message(error: click.ClickException) -> str:
    """Return click's sentence as one of ours: without its guesses, its capital and its full stop."""
    guessed = getattr(error, "possibilities", None)
    text = " ".join((error.message if guessed else error.format_message()).split()).rstrip(".")
    return text[:1].lower() + text[1:]


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return a question that names what is spelt like the word, None where nothing is."""
    close = difflib.get_close_matches(word, list(known))
    return _question(close) if close else None


def began(arguments: Sequence[str]) -> str:
    """Return the command line as far as it names a command; what follows may hold a secret."""
    return " ".join([PROGRAM, *[word for word in arguments[:1] if not word.startswith("-")]])


def _question(names: Sequence[str]) -> str:
    return "did you mean " + " or ".join(f'"{name}"' for name in names) + "?"


def _command_path(error: click.ClickException, arguments: Sequence[str]) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if isinstance(context, click.Context) else began(arguments)
