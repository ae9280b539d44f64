"""The fake tokenizer: reversible, and stable at the boundary of context and continuation."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaldock.testkit.fake_endpoint import tokenizer

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
MEANINGFUL_IDS = st.integers(0, tokenizer.VOCAB_SIZE - 1)


@settings(deadline=None)
@given(TEXT)
def test_text_survives_the_round_trip(text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(deadline=None)
@given(st.lists(MEANINGFUL_IDS))
def test_each_id_stands_for_its_own_bytes(ids: list[int]) -> None:
    back = [tokenizer.token_bytes(i) for i in ids]
    assert len({(i, b) for i, b in zip(ids, back, strict=True)}) == len(set(ids)) == len(set(back))


@settings(deadline=None)
@given(TEXT)
def test_tokens_of_a_text_are_whole_characters(text: str) -> None:
    assert "".join(map(tokenizer.token_text, tokenizer.encode(text))) == text


@settings(deadline=None)
@given(TEXT, st.text("abcdefgh XYZ", min_size=1).map(lambda text: " " + text.lstrip() + "."))
def test_context_tokens_are_a_prefix_when_the_continuation_starts_with_a_space(
    context: str, continuation: str
) -> None:
    context = context.rstrip() + ":"
    whole = tokenizer.encode(context + continuation)
    assert whole[: len(tokenizer.encode(context))] == tokenizer.encode(context)


def test_special_tokens_are_one_id() -> None:
    assert tokenizer.encode("a<|endoftext|>") == [*tokenizer.encode("a"), 0]


@pytest.mark.parametrize("bad", [-1, tokenizer.VOCAB_SIZE])
def test_ids_outside_the_vocabulary_are_refused(bad: int) -> None:
    with pytest.raises(ValueError, match="outside the vocabulary"):
        tokenizer.decode([bad])


def test_bytes_that_are_no_character_print_as_bytes() -> None:
    euro = "€".encode()
    first = 3 + euro[0]
    assert tokenizer.token_text(first) == "bytes:\\xe2"
