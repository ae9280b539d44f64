"""One task in the adapter: its store of exchanges, its ordinals, its counts."""

from collections.abc import Callable
from dataclasses import dataclass, field

from evaldock_entrypoints.adapter.counts import Counts
from evaldock_entrypoints.contract.errors import EvaldockError
from evaldock_entrypoints.exchanges.ordinals import Ordinals
from evaldock_entrypoints.exchanges.replay import ReplayStore
from evaldock_entrypoints.exchanges.store import Store


@dataclass(kw_only=True)
class Lane:
    """What the models of one task share."""

    task: str
    store: Store | ReplayStore
    stop_all: Callable[[EvaldockError], None]  # ends the whole run
    ordinals: Ordinals = field(default_factory=Ordinals)
    counts: Counts = field(default_factory=Counts)
    stopped: EvaldockError | None = None  # why nothing more is asked

    def stop(self, error: EvaldockError) -> None:
        """Ask nothing more for this task; the first reason stands."""
        self.stopped = self.stopped or error
