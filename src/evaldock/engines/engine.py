"""What an engine gives an executor: networks, and units that run, end and are gone."""

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from evaldock.pins import ImagePin
from evaldock.plan import EngineName, Unit

STOP_GRACE_S = 15
HARNESS_MEMORY_SHARE = (
    0.8  # of the engine's, for a harness without a limit of its own: the machine stays usable
)


@dataclass(frozen=True, kw_only=True)
class Exit:
    """How a unit ended. code: its exit status, 128 + n for signal n."""

    code: int
    out_of_memory: bool
    last_lines: tuple[str, ...]


class Running(Protocol):
    """One unit, started by `with` and removed at its end, whatever happens."""

    @property
    def unit(self) -> Unit: ...

    @property
    def ended(self) -> threading.Event: ...

    @property
    def gpus(self) -> tuple[str, ...]:
        """The GPUs seen inside after the start; empty: none asked for, or ended before it could be asked."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def stop(self, grace_s: int = STOP_GRACE_S) -> None:
        """Send TERM, then KILL after grace_s."""

    def exit(self) -> Exit:
        """Return how the ended unit ended."""

    def last_lines(self, count: int = 20) -> tuple[str, ...]:
        """Return the last lines of the unit's output."""

    def save_log(self, path: Path) -> None:
        """Write the unit's whole output to a file."""


def bounded(unit: Unit, memory_bytes: int) -> Unit:
    """Return the unit, bound to its share where it is a harness's without a memory limit."""
    if unit.role != "evaluation" or unit.limits.memory is not None or memory_bytes <= 0:
        return unit
    memory = f"{int(memory_bytes * HARNESS_MEMORY_SHARE) // 1024**2}m"
    return replace(unit, limits=replace(unit.limits, memory=memory))


class Engine(Protocol):
    """Runs units on behalf of one run; a context manager."""

    @property
    def name(self) -> EngineName: ...

    @property
    def isolates(self) -> bool:
        """Whether units are kept from each other, from the network and from this machine."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def used(self, pin: ImagePin) -> ImagePin:
        """Return what is run for a pin of the plan, as the run's lock records it."""

    def sweep(self) -> list[str]:
        """Remove what runs on this host left behind whose process is gone; return the names."""

    def network(self, *, internal: bool) -> AbstractContextManager[str]:
        """Make the run's network, yield its name, remove it."""

    def spelt(self, unit: Unit, text: str) -> str:
        """Return a path or an address of the unit's container as the unit's own processes spell it."""

    def create(
        self, unit: Unit, *, user: str, network: str | None, alias: str | None, secrets: Mapping[str, str]
    ) -> Running:
        """Create the unit, not yet started; raises ExecutionError or PinError."""
