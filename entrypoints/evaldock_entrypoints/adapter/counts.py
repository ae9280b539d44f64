"""What the adapter has done for a task so far, as its status tells it."""

from dataclasses import asdict, dataclass


@dataclass(kw_only=True, slots=True)
class Counts:
    """Requests of one task by what became of them."""

    requests: int = 0
    answered: int = 0  # delivered, from the store or fresh
    cached: int = 0  # of these, from the store
    failed: int = 0
    retried: int = 0  # asked more than once
    in_flight: int = 0

    def as_tree(self) -> dict[str, int]:
        return asdict(self)
