"""The answer table: exact shares, and which item a prompt asks about."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaldock.testkit.fake_endpoint.errors import FakeEndpointError
from evaldock.testkit.fake_endpoint.table import (
    PROBE,
    AnswerTable,
    ChoiceItem,
    GenerateItem,
    Item,
    read_items,
    right_ids,
)


def item(item_id: str, match: str, group: str | None = None) -> GenerateItem:
    return GenerateItem(id=item_id, match=match, group=group, kind="generate", right="r", wrong="w")


def items(count: int, group: str | None = None) -> list[Item]:
    return [item(f"{group}-{i}", f"{group} question {i}?", group) for i in range(count)]


def table(*entries: Item, share: float = 1.0, seed: int = 1) -> AnswerTable:
    return AnswerTable(entries, share=share, seed=seed)


@settings(deadline=None)
@given(st.integers(0, 60), st.floats(0, 1), st.integers())
def test_share_is_exact(count: int, share: float, seed: int) -> None:
    assert len(right_ids(items(count), share, seed)) == round(share * count)


@settings(deadline=None)
@given(st.permutations(items(12)), st.integers())
def test_right_items_do_not_depend_on_the_order_of_the_table(shuffled: list[Item], seed: int) -> None:
    assert right_ids(shuffled, 0.5, seed) == right_ids(items(12), 0.5, seed)


def test_share_is_exact_in_each_group() -> None:
    right = right_ids([*items(40, "a"), *items(8, "b")], 0.75, seed=3)
    assert [sum(i.startswith(g) for i in right) for g in "ab"] == [30, 6]


def test_seeds_pick_different_items() -> None:
    assert len({right_ids(items(40), 0.5, seed) for seed in range(5)}) == 5


def test_each_file_is_a_group_of_its_own(tmp_path: Path) -> None:
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path in paths:
        lines = [item(f"{path.stem}{i}", f"{path.stem} {i}?").model_dump_json() for i in range(8)]
        path.write_text("\n".join(lines))
    right = right_ids(read_items(paths), 0.25, seed=1)
    assert [sum(i.startswith(g) for i in right) for g in "ab"] == [2, 2]


def test_an_item_that_says_when_it_is_right_is_so_at_those_requests_and_counts_in_no_share() -> None:
    own = GenerateItem(id="own", match="m", kind="generate", right="r", wrong="w", right_at=frozenset({0, 2}))
    others = [item(f"x{number}", f"question {number}") for number in range(4)]
    made = table(own, *others, share=0.5)
    assert [made.is_right(own, before) for before in range(4)] == [True, False, True, False]
    assert [sum(made.is_right(other, before) for other in others) for before in (0, 1)] == [2, 2]


def test_match_that_ends_last_wins() -> None:
    found = table(item("one", "first question"), item("two", "second question")).find(
        "second question? a. first question? b. second"
    )
    assert found is not None
    assert (found.item.id, found.end) == ("one", 34)


def test_longest_match_wins_on_a_tie() -> None:
    entries = (item("short", "2?"), item("long", "What is 1 + 2?"), item("middle", "+ 2?"))
    found = table(*entries).find("What is 1 + 2?")
    assert found is not None
    assert found.item.id == "long"


def test_unknown_prompt_finds_nothing() -> None:
    assert table(item("one", "first question")).find("nothing of the kind") is None


def test_readiness_question_is_always_known() -> None:
    found = table(share=0.0).find("The capital of France is Paris")
    assert found is not None
    assert found.item == PROBE
    assert table(share=0.0).chosen_index(PROBE) == 0


def test_wrong_choice_is_never_a_twin_of_the_right_text() -> None:
    entry = ChoiceItem(id="x", match="m", kind="choice", choices=("a", "b", "a"), right=2)
    assert {table(entry, share=0.0, seed=seed).chosen_index(entry) for seed in range(10)} == {1}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "a"', "JSON"),
        ('{"id": "a", "match": "m", "kind": "essay"}', "essay"),
        ('{"id": "a", "match": "m", "kind": "choice", "choices": ["x", "y"], "right": 2}', "only 2 choices"),
        ('{"id": "a", "match": "m", "kind": "choice", "choices": ["x", "x"], "right": 0}', "same text"),
        ('{"id": "a", "match": "", "kind": "generate", "right": "r", "wrong": "w"}', "match"),
    ],
)
def test_bad_line_is_refused_with_file_and_line(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("\n" + line + "\n")
    with pytest.raises(FakeEndpointError, match=rf"bad\.jsonl:2: .*{said}"):
        read_items([path])


def test_items_with_the_same_match_are_refused() -> None:
    with pytest.raises(FakeEndpointError, match='"one" and "two"'):
        table(item("one", "same"), item("two", "same"))


def test_share_outside_0_to_1_is_refused() -> None:
    with pytest.raises(FakeEndpointError, match=r"share is 1\.5"):
        table(share=1.5)
