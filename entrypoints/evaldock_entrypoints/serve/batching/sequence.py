"""A sequence on its way through the model, and the slots that hold such sequences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from evaldock_entrypoints.serve.batching.sampling import Sampler
from evaldock_entrypoints.serve.front.protocol import Event, GenerationRequest, ScoredToken

Emit = Callable[[Event], None]


@dataclass(eq=False, kw_only=True)
class Running:
    """One request being computed; `position` counts the tokens that its slot holds."""

    request: GenerationRequest
    emit: Emit
    sampler: Sampler
    prompt: npt.NDArray[np.int32]
    slot: int = -1
    position: int = 0
    generated: int = 0
    last: int = -1
    scores: list[ScoredToken] = field(default_factory=list)
    cancelled: bool = False
    passed_over: int = 0

    @property
    def prefilled(self) -> bool:
        """Whether the whole prompt is in the slot."""
        return self.position >= len(self.prompt)


@dataclass(eq=False, kw_only=True)
class Slot:
    """A place for one sequence; it keeps the last prompt, whose beginning the next one may share."""

    prompt: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    scores: Sequence[ScoredToken] = ()
    scored_top: int = -1
    used_at: int = 0
    running: Running | None = None


def running(request: GenerationRequest, emit: Emit) -> Running:
    """Return a request that has not begun."""
    return Running(
        request=request,
        emit=emit,
        sampler=Sampler(request.sampling),
        prompt=np.asarray(request.prompt, dtype=np.int32),
    )


def shared_prefix(slot: Slot, wanted: Running) -> int:
    """Return how many tokens of the slot's last prompt can stand for the beginning of the wanted one.

    At least two rows are left to feed: a pass over a single row of a prompt rounds differently from one over
    several, and an answer must not depend on what the slot held before. For a scored prompt the row before
    the first differing token is fed again, since its logits score that token.
    """
    length = _common_length(slot.prompt, wanted.prompt)
    top = wanted.request.prompt_top
    if top is not None:
        usable = slot.scored_top == top
        length = min(length, len(slot.scores)) - 1 if usable else 0
    return max(0, min(length, len(wanted.prompt) - 2))


def _common_length(left: npt.NDArray[np.int32], right: npt.NDArray[np.int32]) -> int:
    shorter = min(len(left), len(right))
    differing = np.flatnonzero(left[:shorter] != right[:shorter])
    return int(differing[0]) if len(differing) else shorter
