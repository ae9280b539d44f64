"""One question of a task, and which questions a limit leaves."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Scorer = Literal["exact", "contains", "regex", "numeric", "letter", "final"]
Message = dict[str, str]  # role and content
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class RefusedError(Exception):
    """What the user asked for cannot be done; each argument is one line that says where and why."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """A question with what is right. messages hold it as a chat, prompt as one text; one of both is set."""

    id: str
    scorer: Scorer
    prompt: str | None = None
    messages: tuple[Message, ...] = ()
    targets: tuple[str, ...] = ()  # any of them is right
    choices: tuple[str, ...] = ()
    right: int = 0  # index into choices
    instruction: str = ""  # said in a chat only
    framed: bool = False  # as a plain completion the prompt stands as "Question: …\nAnswer:"

    @property
    def text(self) -> str:
        """The question without its instruction."""
        return self.prompt if self.prompt is not None else self.messages[-1]["content"]


def generator(seed: int | None) -> random.Random:
    """Return the source of all random choices: the same at each start, also without a seed."""
    return random.Random(0 if seed is None else seed)


def choose(items: Sequence[Item], limit: float | None, seed: int | None, sampling: str) -> list[Item]:
    """Return the items that a limit leaves (a count, or a share below 1 rounded up), in their own order."""
    if limit is None:
        return list(items)
    count = min(len(items), math.ceil(len(items) * limit) if limit < 1 else int(limit))
    if sampling == "head":
        return list(items[:count])
    chosen = set(generator(seed).sample(range(len(items)), count))
    return [item for number, item in enumerate(items) if number in chosen]
