"""What the endpoint says: a table's answer or seeded filler, cut by stop strings and the token limit."""

from dataclasses import dataclass
from itertools import count

from evaldock.testkit.fake_endpoint import tokenizer
from evaldock.testkit.fake_endpoint.answer import FinishReason
from evaldock.testkit.fake_endpoint.table import AnswerTable, GenerateItem, Item, ToolCall, digest

_FILLER_WORDS = (
    *("amber", "basin", "candle", "delta", "ember", "falcon", "garnet", "harbor"),
    *("island", "juniper", "kettle", "lantern", "meadow", "nectar", "orchard", "pebble"),
    *("quarry", "ripple", "saffron", "timber", "umber", "valley", "willow", "yonder"),
)
_FILLER_LENGTH = 24


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Text after stop strings and the limit, with the tokens it took."""

    text: str
    finish_reason: FinishReason
    tokens: int


def answer_text(table: AnswerTable, item: Item, asked_before: int) -> str:
    """What the table says about `item`, right or wrong."""
    if isinstance(item, GenerateItem):
        return item.right if table.is_right(item, asked_before) else item.wrong
    return item.choices[table.chosen_index(item)]


def answer_call(table: AnswerTable, item: Item, asked_before: int) -> ToolCall | None:
    """The item's tool call; a wrong item without one of its own calls the right tool with no arguments."""
    if not isinstance(item, GenerateItem) or item.tool_call is None or table.is_right(item, asked_before):
        return item.tool_call if isinstance(item, GenerateItem) else None
    return item.wrong_tool_call or ToolCall(name=item.tool_call.name)


def filler(prompt: str, *variants: object) -> str:
    """Words picked by a hash of the prompt and the variants (sampling seed, ordinal, choice index)."""
    picks = (digest("filler", prompt, i, *variants) for i in count())
    words = [_FILLER_WORDS[next(picks) % len(_FILLER_WORDS)] for _ in range(_FILLER_LENGTH)]
    return " ".join(words).capitalize() + "."


def cut(text: str, stops: list[str], limit: int | None) -> Cut:
    """`text` up to the first stop string, then up to `limit` tokens (None: no limit)."""
    ends = [position for stop in stops if (position := text.find(stop)) >= 0]
    text = text[: min(ends)] if ends else text
    ids = tokenizer.encode(text)
    if limit is not None and len(ids) > limit:
        return Cut(text=tokenizer.decode(ids[:limit]), finish_reason="length", tokens=limit)
    return Cut(text=text, finish_reason="stop", tokens=len(ids))
