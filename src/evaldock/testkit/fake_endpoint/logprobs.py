"""Log-probabilities that make the chosen choice win, whatever the lengths of the choices.

The continuation that is the chosen choice gets -0.5 in all, shared over its tokens; any other choice gets -8
per byte. So for lengths Lc, Lo >= 1 the chosen one wins the sum (-0.5 > -8 * Lo) and the sum divided by
characters or bytes (-0.5 / Lc >= -0.5 > -8 * Lo / Lo). Whitespace between context and choice costs -0.05 a
token for every choice.
"""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from evaldock.testkit.fake_endpoint import tokenizer
from evaldock.testkit.fake_endpoint.table import AnswerTable, ChoiceItem, Found

LogprobsBug = Literal["none", "shifted", "constant", "missing"]

CHOSEN_TOTAL = -0.5
OTHER_PER_BYTE = -8.0
DELIMITER = -0.05
GENERATED = -0.02
_SHIFT_SALT = 43  # such that the shifted pairing finds London likelier than Paris
_BEST_OTHER = -0.3  # what the likeliest alternative gets where the prompt's own token is not the likeliest


@dataclass(frozen=True, kw_only=True)
class TokenLogprobs:
    """One entry per token; `values` and `top` start with None where there is no context to predict from."""

    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    values: tuple[float | None, ...]
    top: tuple[dict[str, float] | None, ...]
    offsets: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The scored continuation: the choice the prompt ends with, and its first byte in the prompt."""

    index: int
    start_byte: int


def scored_choice(prompt: str, found: Found) -> Scored | None:
    """The longest choice that `prompt` ends with and that lies behind the item's match."""
    if not isinstance(found.item, ChoiceItem):
        return None
    best: Scored | None = None
    for index, choice in enumerate(found.item.choices):
        start = len(prompt) - len(choice)
        if start < found.end or not prompt.endswith(choice):
            continue
        start_byte = len(prompt[:start].encode(errors="replace"))
        if best is None or start_byte < best.start_byte:
            best = Scored(index=index, start_byte=start_byte)
    return best


def prompt_values(
    ids: Sequence[int], prompt: str, found: Found | None, table: AnswerTable
) -> list[float | None]:
    """The log-probability of each prompt token given those before it; None for the first."""
    values: list[float | None] = [None, *map(_base, ids[:-1], ids[1:])]
    scored = scored_choice(prompt, found) if found else None
    if found is None or scored is None or not isinstance(found.item, ChoiceItem):
        return values
    chosen_text = found.item.choices[table.chosen_index(found.item)]
    is_chosen = found.item.choices[scored.index] == chosen_text
    _score_tail(values, ids, scored.start_byte, is_chosen=is_chosen)
    return values


def prompt_logprobs(ids: Sequence[int], values: Sequence[float | None], k: int) -> TokenLogprobs:
    """Everything a server prints about the prompt's tokens, with `k` alternatives each."""
    texts = tuple(map(tokenizer.token_text, ids))
    offsets = _offsets(ids, 0)
    top = _top(texts, values, k)
    return TokenLogprobs(ids=tuple(ids), tokens=texts, values=tuple(values), top=top, offsets=offsets)


def generated_logprobs(text: str, k: int, first_offset: int) -> TokenLogprobs:
    """The same for generated text; every token is the likeliest (greedy)."""
    ids = tokenizer.encode(text)
    texts = tuple(map(tokenizer.token_text, ids))
    values = (GENERATED,) * len(ids)
    offsets = _offsets(ids, first_offset)
    return TokenLogprobs(
        ids=tuple(ids), tokens=texts, values=values, top=_top(texts, values, k), offsets=offsets
    )


def joined(first: TokenLogprobs, second: TokenLogprobs) -> TokenLogprobs:
    """`first` followed by `second`."""
    return TokenLogprobs(
        ids=first.ids + second.ids,
        tokens=first.tokens + second.tokens,
        values=first.values + second.values,
        top=first.top + second.top,
        offsets=first.offsets + second.offsets,
    )


def with_bug(logprobs: TokenLogprobs, bug: LogprobsBug, k: int) -> TokenLogprobs | None:
    """`logprobs` as a broken server reports them; None when it drops them."""
    match bug:
        case "none":
            return logprobs
        case "missing":
            return None
        case "constant":
            values: list[float | None] = [None if value is None else -1.0 for value in logprobs.values]
        case "shifted":
            values = _shifted(logprobs)
    return replace(logprobs, values=tuple(values), top=_top(logprobs.tokens, values, k))


def alternatives(token: str, value: float, k: int) -> dict[str, float]:
    """The token and up to `k` likely tokens with it, likeliest first; the token itself is always in."""
    if value >= CHOSEN_TOTAL or k == 0:
        rest = [f" other{i}" for i in range(1, k)]
        return {token: value} | {name: round(-4.0 - i, 6) for i, name in enumerate(rest)}
    names = [name for name in (" the", " a", " of", " and", " to", " in") if name != token][:k]
    return {name: _BEST_OTHER - 2.0 * i for i, name in enumerate(names)} | {token: value}


def _top(
    tokens: Sequence[str], values: Sequence[float | None], k: int
) -> tuple[dict[str, float] | None, ...]:
    pairs = zip(tokens, values, strict=True)
    return tuple(None if value is None else alternatives(token, value, k) for token, value in pairs)


def _score_tail(values: list[float | None], ids: Sequence[int], start_byte: int, *, is_chosen: bool) -> None:
    raw = [tokenizer.token_bytes(token_id) for token_id in ids]
    end = sum(map(len, raw))
    positions: list[tuple[int, int]] = []
    for position in range(len(raw) - 1, 0, -1):
        start = end - len(raw[position])
        if end > start_byte:
            positions.append((position, end - max(start, start_byte)))
        elif raw[position].isspace():
            values[position] = DELIMITER
        else:
            break
        end = start
    for position, size_bytes in positions:
        values[position] = CHOSEN_TOTAL / len(positions) if is_chosen else OTHER_PER_BYTE * size_bytes


def _base(before: int, token_id: int) -> float:
    """A plausible value for a token in running text, in (-5, -2], from the pair alone."""
    mixed = (before * 2654435761 + token_id * 40503 + 97) * 2246822519 & 0xFFFFFFFF
    return round(-2.0 - 3.0 * (mixed / 2**32), 6)


def _shifted(logprobs: TokenLogprobs) -> list[float | None]:
    """Token i under the distribution *after* token i, as llama-cpp-python's server without a BOS token."""
    ids = [token_id ^ _SHIFT_SALT for token_id in logprobs.ids]
    return [None, *(_base(after, token_id) for token_id, after in zip(ids[1:], [*ids[2:], 0], strict=True))]


def _offsets(ids: Sequence[int], first: int) -> tuple[int, ...]:
    """The character at which each token starts."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    offsets: list[int] = []
    for token_id in ids:
        offsets.append(first)
        first += len(decoder.decode(tokenizer.token_bytes(token_id)))
    return tuple(offsets)
