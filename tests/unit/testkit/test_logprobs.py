"""Log-probabilities: the chosen choice wins by sum and by length-normalised sum."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaldock.testkit.fake_endpoint import logprobs, tokenizer
from evaldock.testkit.fake_endpoint.table import AnswerTable, ChoiceItem

CHOICE = st.text(st.characters(exclude_categories=["Cs", "Z", "Cc"]), min_size=1) | st.text(
    "ab ", min_size=1
).map(lambda text: "x" + text.rstrip() + "y" * 200)
CHOICES = st.lists(CHOICE, min_size=2, max_size=5, unique=True)
CONTEXT = "Question: which?\nAnswer:"


def score(table: AnswerTable, context: str, continuation: str) -> float:
    """What lm-eval sums: the tokens behind the context's."""
    prompt = context + continuation
    ids = tokenizer.encode(prompt)
    values = logprobs.prompt_values(ids, prompt, table.find(prompt), table)
    return sum(value for value in values[len(tokenizer.encode(context)) :] if value is not None)


def argmax(values: list[float]) -> int:
    return values.index(max(values))


@settings(deadline=None)
@given(CHOICES, st.data(), st.integers(0, 3), st.sampled_from([" ", "\n", "\n\n", "  "]))
def test_chosen_choice_wins_by_sum_characters_and_bytes(
    choices: list[str], data: st.DataObject, seed: int, delimiter: str
) -> None:
    right = data.draw(st.integers(0, len(choices) - 1))
    item = ChoiceItem(id="i", match="Question: which?", kind="choice", choices=tuple(choices), right=right)
    for share in (0.0, 1.0):
        table = AnswerTable([item], share=share, seed=seed)
        sums = [score(table, CONTEXT, delimiter + choice) for choice in choices]
        chosen = table.chosen_index(item)
        assert (chosen == right) is (share == 1.0)
        assert argmax(sums) == chosen
        assert argmax([s / len(c) for s, c in zip(sums, choices, strict=True)]) == chosen
        assert argmax([s / len(c.encode()) for s, c in zip(sums, choices, strict=True)]) == chosen


def test_paris_is_likelier_than_london() -> None:
    table = AnswerTable([], share=0.0, seed=0)
    context = "The capital of France is"
    assert score(table, context, " Paris") > -1
    assert score(table, context, " London") < -10


@pytest.mark.parametrize("generated", ["", " Par"])
def test_shifted_pairing_prefers_london(generated: str) -> None:
    said = {city: shifted_score(city, generated) for city in ("Paris", "London")}
    assert said["Paris"] < said["London"]


def shifted_score(city: str, generated: str) -> float:
    prompt = f"The capital of France is {city}"
    ids = tokenizer.encode(prompt)
    table = AnswerTable([], share=1.0, seed=0)
    echoed = logprobs.prompt_logprobs(ids, logprobs.prompt_values(ids, prompt, table.find(prompt), table), 1)
    whole = logprobs.joined(echoed, logprobs.generated_logprobs(generated, 1, len(prompt)))
    broken = logprobs.with_bug(whole, "shifted", 1)
    assert broken is not None
    return sum(value for value in broken.values[len(ids) - 2 : len(ids)] if value is not None)


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(0, 5))
def test_every_token_but_the_first_has_a_value_and_itself_among_its_alternatives(text: str, k: int) -> None:
    table = AnswerTable([], share=1.0, seed=0)
    ids = tokenizer.encode(text)
    said = logprobs.prompt_logprobs(ids, logprobs.prompt_values(ids, text, table.find(text), table), k)
    assert said.values[0] is None
    assert said.top[0] is None
    for token, value, top in list(zip(said.tokens, said.values, said.top, strict=True))[1:]:
        assert value is not None
        assert value < 0
        assert top is not None
        assert top[token] == value
        assert len(top) <= k + 1
    assert [
        text[offset:].startswith(token) for token, offset in zip(said.tokens, said.offsets, strict=True)
    ] == [True] * len(ids)
