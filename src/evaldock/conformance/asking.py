"""Containers of the image that are started for one command each."""

import itertools
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from evaldock.engines.engine import Engine, Running
from evaldock.pins import ImagePin
from evaldock.plan import Mount, Unit, UnitNetwork
from evaldock.untrusted_files import read_text
from evaldock_entrypoints.contract.errors import ExecutionError

NOT_FOUND = 127  # what a shell says of a program that is not there
TIMED_OUT = 124  # what timeout(1) says
_TIMEOUT_S = 180.0
_NO_PROGRAM = ("executable file", "no such file or directory")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How a command ended. output: both its outputs together."""

    code: int
    output: str
    duration_s: float

    @property
    def said(self) -> str:
        """What to show of it."""
        lines = self.output.strip().splitlines()
        return f"exit {self.code}" + (f": {lines[-1]}" if self.code != 0 and lines else "")


@dataclass(frozen=True, kw_only=True)
class Asker:
    """Starts the image's commands on an engine; their logs go into a folder of ours."""

    engine: Engine
    image: ImagePin
    folder: Path
    user: str = field(default_factory=lambda: f"{os.getuid()}:{os.getgid()}")
    numbers: Iterator[int] = field(
        default_factory=itertools.count
    )  # of containers, which may run side by side

    def ask(
        self,
        *argv: str,
        mounts: tuple[Mount, ...] = (),
        log: str | None = None,
        user: str | None = None,
        network: UnitNetwork = "none",
        secrets: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return how a command ended that has no network of its own accord; raises ExecutionError."""
        began = time.monotonic()
        path = self.folder / (log or f"{next(self.numbers)}.log")
        try:
            started = self.started(*argv, mounts=mounts, user=user, network=network, secrets=secrets)
            with started as running:
                in_time = running.ended.wait(_TIMEOUT_S)
                code = running.exit().code if in_time else TIMED_OUT
                running.save_log(path)
        except ExecutionError as error:
            if not any(words in str(error) for words in _NO_PROGRAM):
                raise
            return Answer(code=NOT_FOUND, output=str(error), duration_s=time.monotonic() - began)
        return Answer(code=code, output=read_text(path), duration_s=time.monotonic() - began)

    @contextmanager
    def started(
        self,
        *argv: str,
        mounts: tuple[Mount, ...],
        user: str | None = None,
        network: UnitNetwork = "none",
        secrets: Mapping[str, str] | None = None,
    ) -> Iterator[Running]:
        """Start a command, and remove its container at the end; raises ExecutionError or PinError."""
        unit = Unit(
            name=f"conformance-{next(self.numbers)}",
            role="evaluation",
            image=self.image,
            argv=argv,
            network=network,
            secret_names=tuple(secrets or {}),
            mounts=mounts,
        )
        running = self.engine.create(
            unit, user=user or self.user, network=None, alias=None, secrets=secrets or {}
        )
        with running:
            yield running

    def copied(self, path: str, target: Path) -> Path | None:
        """Copy a file of the image, None where it has none; its content is not to be trusted."""
        log = target.relative_to(self.folder)
        return target if self.ask("/bin/cat", path, log=str(log)).code == 0 else None
