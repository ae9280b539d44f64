"""Every error a person can meet, with its exit code (contract, section 2)."""

from collections.abc import Mapping
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes, the same inside images and on the host."""

    COMPLETE = 0
    INTERNAL = 1
    USAGE = 2
    ENDPOINT = 3
    HARNESS = 4
    INCOMPLETE = 5
    PIN = 6
    EXECUTION = 7
    INTERRUPTED = 75


class EvaldockError(Exception):
    """An error with what happened, where, and what to do next."""

    exit_code = ExitCode.INTERNAL

    def __init__(self, message: str, *, where: str | None = None, next_step: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.next_step = next_step

    def render(self, program: str = "evaldock") -> str:
        """Return the message in the form of the house style, two-space indented below its first line."""
        lines = [f"{program}: error: {_indented(self.message)}"]
        if self.where:
            lines.append(f"  {_indented(self.where)}")
        if self.next_step:
            lines.append(f"  next: {_indented(self.next_step)}")
        return "\n".join(lines)


def _indented(text: str) -> str:
    """Return the text with its further lines below the first one, at least two spaces in."""
    first, *others = text.splitlines() or [""]
    return "\n".join([first, *(line if line.startswith("  ") else f"  {line}" for line in others)])


class UsageError(EvaldockError):
    """The document, a flag or their combination is wrong."""

    exit_code = ExitCode.USAGE


class NotBuiltError(UsageError):
    """A part of the contract that this version does not carry out."""

    def __init__(self, what: str, *, where: str | None = None, next_step: str | None = None) -> None:
        super().__init__(f"{what} is not built yet in this version", where=where, next_step=next_step)


class EndpointError(EvaldockError):
    """The endpoint is unreachable, refuses auth, or lacks a needed capability."""

    exit_code = ExitCode.ENDPOINT


class HarnessError(EvaldockError):
    """The harness failed, or its output cannot be read."""

    exit_code = ExitCode.HARNESS


class IncompleteError(EvaldockError):
    """Finished, and not every sample is proven, so that there is no score."""

    exit_code = ExitCode.INCOMPLETE


class PinError(EvaldockError):
    """Image, data or lock does not match its pin."""

    exit_code = ExitCode.PIN


class ExecutionError(EvaldockError):
    """The execution back-end (engine, scheduler) failed."""

    exit_code = ExitCode.EXECUTION


class InterruptedRunError(EvaldockError):
    """Stopped by a signal or a time limit; the same command resumes."""

    exit_code = ExitCode.INTERRUPTED


BY_EXIT_CODE: Mapping[int, type[EvaldockError]] = {
    kind.exit_code: kind
    for kind in (
        UsageError,
        EndpointError,
        HarnessError,
        IncompleteError,
        PinError,
        ExecutionError,
        InterruptedRunError,
    )
}


def internal_error(error: Exception) -> EvaldockError:
    """Return what a person is told of a fault of our own."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else None
    return EvaldockError(
        f"internal error: {type(error).__name__}: {error}",
        where=place,
        next_step="a fault of evaldock; the same command with --debug shows the traceback to report",
    )
