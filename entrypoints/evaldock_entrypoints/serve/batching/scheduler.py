"""Continuous batching: which rows go through the model next, and what their logits mean."""

from collections import deque
from collections.abc import Iterator

from evaldock_entrypoints.serve.batching.decoder import Decoder, Logits, Row, RowsWanted
from evaldock_entrypoints.serve.batching.sampling import Scorer
from evaldock_entrypoints.serve.batching.sequence import Running, Slot, shared_prefix
from evaldock_entrypoints.serve.front.protocol import (
    EngineLoad,
    Finished,
    FinishReason,
    Generated,
    PromptScored,
    ScoredToken,
)

# How many waiting requests are looked at for a prefix that a free slot still holds.
WINDOW = 64
# A shorter shared prefix saves less than keeping the order of arrival is worth.
WORTHWHILE_PREFIX = 16
# After being passed over this often, a request takes the next free slot.
PATIENCE = 64


class Scheduler:
    """Feeds slots: a `step` is a pass with a row per generating sequence and a pass with part of a prompt.

    The two are separate passes on purpose. libllama splits a pass over sequences of different lengths
    unevenly, which leaves single rows of prompts, and those round differently: measured up to 0.4 in a
    log-probability. Kept apart, an answer is the same bit for bit alone and among others, and no slower.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._scorer = Scorer()
        self._waiting: deque[Running] = deque()
        self._slots = [Slot() for _ in range(decoder.slots)]
        self._clock = 0

    def add(self, wanted: Running) -> None:
        """Take a request in; it waits until a slot is free."""
        self._waiting.append(wanted)

    def load(self) -> EngineLoad:
        """How many sequences run and wait."""
        return EngineLoad(len(list(self._running())), len(self._waiting))

    @property
    def idle(self) -> bool:
        """Whether there is nothing to compute."""
        return not self._waiting and all(slot.running is None for slot in self._slots)

    def step(self) -> None:
        """Advance all sequences by one token or one part of a prompt."""
        self._drop_cancelled()
        self._generate([sequence for sequence in self._running() if sequence.prefilled])
        prefilling = next((one for one in self._running() if not one.prefilled), None) or self._admit()
        if prefilling is not None:
            self._prefill(prefilling)

    def _running(self) -> Iterator[Running]:
        return (slot.running for slot in self._slots if slot.running is not None)

    def _drop_cancelled(self) -> None:
        if any(waiting.cancelled for waiting in self._waiting):
            self._waiting = deque(waiting for waiting in self._waiting if not waiting.cancelled)
        for sequence in list(self._running()):
            if sequence.cancelled:
                self._release(sequence)

    def _admit(self) -> Running | None:
        """Give the next request a slot; one at a time, so that it may find what the one before left there."""
        free = [index for index, slot in enumerate(self._slots) if slot.running is None]
        if not free or not self._waiting:
            return None
        wanted, index = self._choose(free)
        self._place(wanted, index)
        return wanted

    def _choose(self, free: list[int]) -> tuple[Running, int]:
        """Return the next request and its slot: longest shared prefix, else the oldest, least used slot."""
        oldest = self._waiting[0]
        window = [oldest] if oldest.passed_over >= PATIENCE else list(self._waiting)[:WINDOW]
        pairs = (
            (shared_prefix(self._slots[index], wanted), wanted, index) for wanted in window for index in free
        )
        length, wanted, index = max(pairs, key=lambda pair: pair[0])
        if length < WORTHWHILE_PREFIX:
            return oldest, min(free, key=lambda index: self._slots[index].used_at)
        oldest.passed_over += wanted is not oldest
        return wanted, index

    def _place(self, wanted: Running, index: int) -> None:
        self._waiting.remove(wanted)
        slot = self._slots[index]
        kept = self._decoder.truncate(index, shared_prefix(slot, wanted))
        wanted.slot, wanted.position = index, kept
        if wanted.request.prompt_top is not None:
            first = ScoredToken(int(wanted.prompt[0]))
            wanted.scores = list(slot.scores[: kept + 1]) if kept else [first]
        self._clock += 1
        slot.running, slot.used_at = wanted, self._clock

    def _prefill(self, sequence: Running) -> None:
        start, total = sequence.position, len(sequence.prompt)
        end = min(total, start + self._decoder.chunk)
        # never leave a single row for the last part, see the class
        end -= total - end == 1
        logits = self._decoder.prefill(
            sequence.slot, start, sequence.prompt[start:end].tolist(), _rows_wanted(sequence, end)
        )
        sequence.position = end
        self._score_prompt(sequence, start, end, logits)
        if not sequence.prefilled:
            return
        if sequence.request.prompt_top is not None:
            sequence.emit(PromptScored(tuple(sequence.scores)))
        if sequence.request.max_tokens == 0:
            self._finish(sequence, "length")
        else:
            self._extend(sequence, logits[-1])

    def _score_prompt(self, sequence: Running, start: int, end: int, logits: Logits) -> None:
        top = sequence.request.prompt_top
        if top is None:
            return
        targets = sequence.prompt[start + 1 : end + 1].tolist()
        sequence.scores += [self._scorer.score(logits[row], token, top) for row, token in enumerate(targets)]

    def _generate(self, sequences: list[Running]) -> None:
        if not sequences:
            return
        logits = self._decoder.step([Row(one.slot, one.position, one.last) for one in sequences])
        for row, sequence in enumerate(sequences):
            sequence.position += 1
            self._extend(sequence, logits[row])

    def _extend(self, sequence: Running, row: Logits) -> None:
        request = sequence.request
        token = sequence.sampler.choose(row)
        scored = ScoredToken(token) if request.top is None else self._scorer.score(row, token, request.top)
        sequence.last = token
        sequence.generated += 1
        sequence.emit(Generated(scored))
        if self._decoder.ends_text(token) and not request.ignore_eos:
            self._finish(sequence, "stop")
        elif sequence.generated >= request.max_tokens:
            self._finish(sequence, "length")

    def _finish(self, sequence: Running, reason: FinishReason) -> None:
        sequence.emit(Finished(reason))
        self._release(sequence)

    def _release(self, sequence: Running) -> None:
        """Free the slot; what it holds of the prompt stays usable, what was generated row by row does not."""
        slot = self._slots[sequence.slot]
        slot.prompt = sequence.prompt[: sequence.position]
        slot.scores = sequence.scores[: len(slot.prompt)]
        slot.scored_top = -1 if sequence.request.prompt_top is None else sequence.request.prompt_top
        slot.running = None


def _rows_wanted(sequence: Running, end: int) -> RowsWanted:
    if sequence.request.prompt_top is not None:
        return "all"
    return "last" if end == len(sequence.prompt) else "none"
