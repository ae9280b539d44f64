"""The answer table: which benchmark item a prompt asks about, and whether it is answered right."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from evaldock.testkit.fake_endpoint.errors import FakeEndpointError

# Long enough that few items share a last piece, short enough that nearly all matches have one.
_TAIL_LENGTH = 16


class ToolCall(BaseModel):
    """One function call the endpoint answers with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    arguments: dict[str, object] = {}


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    match: str = Field(min_length=1)
    group: str | None = None
    reasoning: str | None = None


class GenerateItem(_Line):
    """An item answered with free text."""

    kind: Literal["generate"]
    right: str
    wrong: str
    right_at: frozenset[Annotated[int, Field(ge=0)]] | None = None  # which times that it is asked, from 0
    tool_call: ToolCall | None = None
    wrong_tool_call: ToolCall | None = None


class ChoiceItem(_Line):
    """An item answered with one of its choices, by text or by log-probability."""

    kind: Literal["choice"]
    choices: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=2)
    right: int = Field(ge=0)

    @model_validator(mode="after")
    def _right_is_a_choice(self) -> Self:
        if self.right >= len(self.choices):
            raise ValueError(f"right is {self.right}, but there are only {len(self.choices)} choices")
        if len(set(self.choices)) == 1:
            raise ValueError("all choices are the same text, so no answer can be wrong")
        return self


Item = GenerateItem | ChoiceItem
_LINE: TypeAdapter[Item] = TypeAdapter(Annotated[Item, Field(discriminator="kind")])

# Always there and never counted: what a readiness probe asks (P(" Paris") > P(" London")).
PROBE = ChoiceItem(
    id="_probe",
    match="The capital of France is",
    kind="choice",
    choices=("Paris", "London", "Berlin", "Rome"),
    right=0,
)


@dataclass(frozen=True, kw_only=True)
class Found:
    """An item found in a prompt, and where in the prompt (characters) its match ends."""

    item: Item
    end: int


def read_items(paths: Iterable[Path]) -> list[Item]:
    """Items of the given JSONL files, each file a group by default. Raises FakeEndpointError."""
    return [item for path in paths for item in _read_file(path)]


def right_ids(items: Sequence[Item], share: float, seed: int) -> frozenset[str]:
    """Ids answered right: exactly round(share * n) of each group's n items, by a seeded shuffle.

    Items that say themselves when they are answered right belong to no group.
    """
    groups: dict[str | None, list[str]] = defaultdict(list)
    for item in items:
        if not _decides_itself(item):
            groups[item.group].append(item.id)
    chosen: set[str] = set()
    for ids in groups.values():
        shuffled = sorted(sorted(ids), key=lambda item_id: digest(seed, item_id))
        chosen.update(shuffled[: round(share * len(ids))])
    return frozenset(chosen)


def _decides_itself(item: Item) -> bool:
    return isinstance(item, GenerateItem) and item.right_at is not None


def digest(*parts: object) -> int:
    """A 64-bit hash of `parts`, the same on every machine and in every process."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=8).digest(), "big")


class AnswerTable:
    """Items indexed for look-up in prompts, with the seeded decision who is answered right."""

    def __init__(self, items: Sequence[Item], *, share: float, seed: int) -> None:
        if not 0 <= share <= 1:
            raise FakeEndpointError(f"share is {share}; it must lie between 0 and 1")
        _refuse_duplicates(items)
        self.items = tuple(items)
        self.right = right_ids(items, share, seed) | {PROBE.id}
        self._seed = seed
        self._by_match: dict[str, Item] = {item.match: item for item in (PROBE, *items)}
        self._lengths = _lengths(self._by_match)

    def is_right(self, item: Item, asked_before: int = 0) -> bool:
        """True if this item is answered right. asked_before: how often it was asked already."""
        if isinstance(item, GenerateItem) and item.right_at is not None:
            return asked_before in item.right_at
        return item.id in self.right

    def chosen_index(self, item: ChoiceItem) -> int:
        """Index of the choice the endpoint prefers; for a wrong item never a twin of the right text."""
        if self.is_right(item):
            return item.right
        others = [i for i, text in enumerate(item.choices) if text != item.choices[item.right]]
        return others[digest(self._seed, "choice", item.id) % len(others)]

    def find(self, prompt: str) -> Found | None:
        """The item whose match ends last in `prompt`; of two that end there, the longest."""
        for end in range(len(prompt), 0, -1):
            item = self._ending_at(prompt, end)
            if item is not None:
                return Found(item=item, end=end)
        return None

    def _ending_at(self, prompt: str, end: int) -> Item | None:
        for tail_length, lengths_by_tail in self._lengths:
            for length in lengths_by_tail.get(prompt[max(0, end - tail_length) : end], ()):
                item = self._by_match.get(prompt[max(0, end - length) : end])
                if item is not None:
                    return item
        return None


def _read_file(path: Path) -> Iterator[Item]:
    try:
        # Not splitlines(): it would also split at U+2028 inside a JSON string.
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FakeEndpointError(f"cannot read the answer table {path}: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            item = _LINE.validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "line"
            raise FakeEndpointError(f"{path}:{number}: {where}: {first['msg']}") from error
        yield item if item.group is not None else item.model_copy(update={"group": str(path)})


def _refuse_duplicates(items: Sequence[Item]) -> None:
    ids: set[str] = set()
    matches: dict[str, str] = {}
    for item in items:
        if item.id in ids:
            raise FakeEndpointError(f'two items have the id "{item.id}"; ids must be unique')
        if item.match in matches:
            twin = matches[item.match]
            raise FakeEndpointError(
                f'items "{twin}" and "{item.id}" have the same match, so the share would not be exact; '
                "lengthen both until they differ (for example with their choices)"
            )
        ids.add(item.id)
        matches[item.match] = item.id


def _lengths(matches: Iterable[str]) -> list[tuple[int, dict[str, list[int]]]]:
    """For each last piece of a match the lengths of the matches that end so, longest first.

    Thousands of matches may end alike ("\\nAnswer:"), so a piece leads to lengths, and they to matches.
    """
    index: dict[int, dict[str, set[int]]] = {}
    for match in matches:
        tail = match[-_TAIL_LENGTH:]
        index.setdefault(len(tail), {}).setdefault(tail, set()).add(len(match))
    by_tail = {
        size: {t: sorted(found, reverse=True) for t, found in tails.items()} for size, tails in index.items()
    }
    return sorted(by_tail.items(), reverse=True)
