"""What every command line does alike: errors in one form, exit codes of the contract, --debug anywhere."""

import difflib
import errno
import sys
import traceback
from collections.abc import Iterable, Sequence
from typing import NoReturn

import click

from evaldock_entrypoints.contract.errors import (
    EvaldockError,
    ExecutionError,
    ExitCode,
    InterruptedRunError,
    UsageError,
    internal_error,
)

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


def run_command(
    command: click.Command, arguments: Sequence[str], program: str, *, handled: type[Exception] | None = None
) -> NoReturn:
    """Run a click command and exit with the contract's code; `handled` passes through to the caller."""
    words, debug = without_debug(arguments)
    try:
        sys.exit(int(command.main(words, prog_name=program, standalone_mode=False) or 0))
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(int(ExitCode.USAGE))
    except click.ClickException as error:
        end(usage_error(error, words, program), program, debug=debug)
    except (click.Abort, KeyboardInterrupt):
        end(_interrupted(words, program), program)
    except EvaldockError as error:
        error.where = error.where or began(words, program)
        end(error, program, debug=debug)
    except Exception as error:
        if handled is not None and isinstance(error, handled):
            raise
        end(_of_the_machine(error, words, program) or internal_error(error), program, debug=debug)


def _of_the_machine(error: Exception, arguments: Sequence[str], program: str) -> EvaldockError | None:
    """Return what to say of an error that no command foresaw and that is the machine's; None for our own."""
    if not isinstance(error, OSError):
        return None
    if error.errno in _NOT_ALLOWED and error.filename:
        return ExecutionError(
            f"this user may not write or read there: {error.strerror}",
            where=str(error.filename),
            next_step="change owner or mode, or name another place (XDG_CACHE_HOME, XDG_DATA_HOME, TMPDIR)",
        )
    if error.errno not in _FULL:
        return None
    return ExecutionError(
        "there is no room left where this command writes",
        where=str(error.filename or began(arguments, program)),
        next_step="make room there (df -h), then type it again",
    )


def end(error: EvaldockError, program: str, *, debug: bool = False) -> NoReturn:
    """Say an error on stderr and exit with its code."""
    if debug:
        traceback.print_exc()
    click.echo(error.render(program), err=True)
    sys.exit(int(error.exit_code))


def without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Take --debug off the command line, wherever it stands before a `--`."""
    words = list(arguments)
    last = words.index("--") if "--" in words else len(words)
    options = [word for word in words[:last] if word != "--debug"]
    return [*options, *words[last:]], len(options) != last


def began(arguments: Sequence[str], program: str) -> str:
    """Return the command line as far as it names a command; what follows may hold a secret."""
    return " ".join([program, *[word for word in arguments[:1] if not word.startswith("-")]])


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return a question that names what is spelt like the word, None where nothing is."""
    close = difflib.get_close_matches(word, list(known))
    return _question(close) if close else None


def usage_error(error: click.ClickException, arguments: Sequence[str], program: str) -> UsageError:
    """Return what click refused as what / where / next."""
    context = getattr(error, "ctx", None)
    path = context.command_path if isinstance(context, click.Context) else began(arguments, program)
    meant: Sequence[str] = getattr(error, "possibilities", None) or ()
    return UsageError(_message(error), where=path, next_step=_question(meant) if meant else f"{path} --help")


def _message(error: click.ClickException) -> str:
    """Return click's sentence as one of ours: without its guesses, its capital and its full stop."""
    guessed = getattr(error, "possibilities", None)
    text = " ".join((error.message if guessed else error.format_message()).split()).rstrip(".")
    return text[:1].lower() + text[1:]


def _question(names: Sequence[str]) -> str:
    return "did you mean " + " or ".join(f'"{name}"' for name in names) + "?"


def _interrupted(arguments: Sequence[str], program: str) -> EvaldockError:
    return InterruptedRunError(
        "interrupted", where=began(arguments, program), next_step="type it again to go on"
    )
