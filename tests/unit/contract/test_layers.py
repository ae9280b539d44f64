"""Merging: later wins, null unsets, an empty list is empty, and every value knows where it was written."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import KeyPath, Layer, merge
from evaldock_entrypoints.contract.overrides import override_layer, split_overrides
from evaldock_entrypoints.contract.reader import parse_yaml

VALUES = st.integers() | st.text(max_size=5) | st.none() | st.lists(st.integers(), max_size=2)
TREES = st.recursive(
    VALUES,
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=10,
)
MAPPINGS = st.dictionaries(st.sampled_from("abcd"), TREES, max_size=4)


def layer(tree: dict[str, Any], name: str) -> Layer:
    """Return a layer in which every path has an origin of its own."""
    return Layer(tree=tree, origins={path: f"{name}:{path}" for path, _ in leaves(tree)}, name=name)


def leaves(tree: Any, path: KeyPath = ()) -> list[tuple[KeyPath, Any]]:
    if isinstance(tree, dict) and tree:
        return [found for key, value in tree.items() for found in leaves(value, (*path, key))]
    return [(path, tree)]


def get(tree: Any, path: KeyPath) -> Any:
    for part in path:
        tree = tree[part]
    return tree


@given(MAPPINGS)
def test_merging_a_layer_with_itself_changes_nothing(tree: dict[str, Any]) -> None:
    once = merge([layer(tree, "1")])
    assert merge([layer(tree, "1"), layer(tree, "1")]) == once


@given(MAPPINGS, MAPPINGS, MAPPINGS)
def test_merging_is_the_same_in_steps(
    one: dict[str, Any], two: dict[str, Any], three: dict[str, Any]
) -> None:
    whole = merge([layer(one, "1"), layer(two, "2"), layer(three, "3")]).tree
    first = merge([layer(one, "1"), layer(two, "2")]).tree
    assert merge([Layer(tree=first), layer(three, "3")]).tree == whole


@given(MAPPINGS, MAPPINGS)
def test_a_later_value_wins_and_null_unsets(one: dict[str, Any], two: dict[str, Any]) -> None:
    merged = merge([layer(one, "1"), layer(two, "2")]).tree
    for path, value in leaves(two):
        if not path:
            continue
        parent: Any = merged
        for part in path[:-1]:
            parent = parent.get(part, {})
        if value is None:
            assert path[-1] not in parent
        elif value != {}:
            assert parent[path[-1]] == value


@given(MAPPINGS, MAPPINGS)
def test_every_value_has_the_origin_of_the_layer_that_gave_it(
    one: dict[str, Any], two: dict[str, Any]
) -> None:
    merged = merge([layer(one, "1"), layer(two, "2")])
    given_by_two = dict(leaves(two))
    for path, value in leaves(merged.tree):
        origin = merged.origin(path)
        if not path or origin is None:
            continue
        assert origin[0] in "12"
        if path in given_by_two and value == given_by_two[path] and value != {}:
            assert origin.startswith("2:")


@given(MAPPINGS)
def test_merging_leaves_the_layers_alone(tree: dict[str, Any]) -> None:
    base = layer({"a": {"b": 1}, "c": [1]}, "1")
    over = layer(tree, "2")
    merge([base, over, layer({"a": {"z": 9}}, "3")])
    assert base.tree == {"a": {"b": 1}, "c": [1]}


def test_null_unsets_and_an_empty_list_is_empty() -> None:
    base = parse_yaml("a: 1\nb: {c: 2, d: 3}\ne: [1]", "base")
    over = parse_yaml("a: null\nb: {c: null}\ne: []", "over")
    merged = merge([base, over])
    assert merged.tree == {"b": {"d": 3}, "e": []}
    assert merged.origin(("e",)) == "over:3"
    assert merged.origin(("b", "d")) == "base:2"


def test_null_stays_below_params_where_it_also_unsets_the_harnesss_value() -> None:
    base = parse_yaml("evaluation: {params: {seed: 1, temperature: 0.5}}", "base")
    assert merge([base, override_layer(["evaluation.params.seed=null"])]).tree == {
        "evaluation": {"params": {"seed": None, "temperature": 0.5}}
    }


def test_an_override_reaches_into_a_list() -> None:
    base = parse_yaml("evaluation: {tasks: [a, {name: b, params: {seed: 1}}]}", "base")
    over = override_layer(["evaluation.tasks[0].params.seed=5", "evaluation.tasks[1].name=c"])
    merged = merge([base, over])
    assert merged.tree["evaluation"]["tasks"] == [
        {"name": "a", "params": {"seed": 5}},
        {"name": "c", "params": {"seed": 1}},
    ]
    assert merged.origin(("evaluation", "tasks", 0, "params", "seed")) == "-o evaluation.tasks[0].params.seed"
    with pytest.raises(UsageError, match="no number 2"):
        merge([base, override_layer(["evaluation.tasks[2].name=c"])])


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a.b=1", {"a": {"b": 1}}),
        ('evaluation.tasks=["x", "y"]', {"evaluation": {"tasks": ["x", "y"]}}),
        ("a.url=http://h:1/v1", {"a": {"url": "http://h:1/v1"}}),
        ("a=null", {"a": None}),
        ("a=", {"a": ""}),
        ("+a.b=yes", {"a": {"b": "yes"}}),
        ("a=02:00:00", {"a": "02:00:00"}),
    ],
)
def test_overrides_are_read_as_yaml(text: str, tree: dict[str, Any]) -> None:
    assert override_layer([text]).tree == tree


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["a.b"], "not key=value"),
        (["=1"], "not key=value"),
        (["a..b=1"], "cannot be read"),
        (["a.b=[1"], "malformed YAML"),
        (["a=1", "a.b=2"], "disagree"),
    ],
)
def test_a_bad_override_is_refused_with_a_remedy(assignments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        override_layer(assignments)
    assert caught.value.where
    assert ":" not in caught.value.where  # no line of a file
    assert caught.value.next_step


def test_an_override_reaches_into_a_list_that_another_one_gave() -> None:
    given = ['evaluation.tasks=["gsm8k", "piqa"]', "evaluation.tasks[1].params.seed=3"]
    tree = override_layer(given).tree
    assert tree == {"evaluation": {"tasks": ["gsm8k", {"name": "piqa", "params": {"seed": 3}}]}}
    with pytest.raises(UsageError, match="disagree"):
        override_layer([*given, "evaluation.tasks[2].name=a"])


def test_overrides_in_one_text_split_at_outer_commas() -> None:
    text = "a.b=1,c='x,y',d=[1,2],e={f: 1, g: 2},h=\"a,b\""
    assert split_overrides(text) == ["a.b=1", "c='x,y'", "d=[1,2]", "e={f: 1, g: 2}", 'h="a,b"']
