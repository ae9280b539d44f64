"""What the scheduler needs of a model that runs forward passes over slots."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]
RowsWanted = Literal["all", "last", "none"]


@dataclass(frozen=True, slots=True)
class Row:
    """One token to feed at one position of one slot."""

    slot: int
    position: int
    token: int


class Decoder(Protocol):
    """A model with a fixed number of slots, each holding one sequence's state."""

    @property
    def slots(self) -> int:
        """How many sequences fit at once."""

    @property
    def chunk(self) -> int:
        """The most rows that one `prefill` takes."""

    def prefill(self, slot: int, start: int, tokens: Sequence[int], wanted: RowsWanted) -> Logits:
        """Feed consecutive tokens of one slot; return (wanted rows, vocabulary), valid until the next."""

    def step(self, rows: Sequence[Row]) -> Logits:
        """Feed one token to each of several slots; return (rows, vocabulary), valid until the next call."""

    def truncate(self, slot: int, length: int) -> int:
        """Forget a slot from `length` on; return what is left: `length`, or 0 where the model cannot cut."""

    def ends_text(self, token: int) -> bool:
        """Whether the token ends a text."""
