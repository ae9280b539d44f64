"""What the adapter tells whoever started it: a small file, replaced whole, when something changed."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.errors import EvaldockError
from evaldock_entrypoints.contract.files import write_json
from evaldock_entrypoints.contract.results import error_record

PERIOD_S = 0.5


def error_tree(error: EvaldockError | None) -> dict[str, Any] | None:
    """Return an error as the status tells it, None for none."""
    return None if error is None else dict(error_record(error))


@dataclass(kw_only=True)
class StatusFile:
    """Writes the status about twice a second while it changes."""

    path: Path
    current: Callable[[], dict[str, Any]]
    _written: dict[str, Any] | None = field(default=None)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    async def keep(self) -> None:
        """Write it again and again until cancelled; a disk that is full or slow for a while stops nobody."""
        while True:
            await asyncio.sleep(PERIOD_S)
            await asyncio.to_thread(self._replace, self.current())

    def write(self) -> None:
        """Write it where it has changed."""
        self._replace(self.current())

    def _replace(self, status: dict[str, Any]) -> None:
        with self._turn:
            if status == self._written:
                return
            try:
                write_json(self.path, status)
                self._written = status
            except OSError:
                self._written = None
