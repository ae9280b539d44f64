"""What holds for any document: translated or refused, origins kept, ours untouched."""

import contextlib
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import Layer
from evaldock_entrypoints.contract.nemo import is_nemo, read, translate
from evaldock_entrypoints.contract.nemo.draft import leaves
from evaldock_entrypoints.contract.nemo.translation import KEYS
from evaldock_entrypoints.contract.reader import parse_yaml

TEXTS = st.text("abc/. -", min_size=1, max_size=5)
OURS = st.fixed_dictionaries(
    {"evaluation": st.fixed_dictionaries({"tasks": st.lists(st.sampled_from(["gsm8k", "lm-eval.mmlu"]))})},
    optional={
        "deployment": st.fixed_dictionaries(
            {"type": st.sampled_from(["vllm", "none", "generic"])},
            optional={
                "checkpoint_path": TEXTS,
                "tensor_parallel_size": st.integers(1, 8),
                "extra_args": st.lists(TEXTS, max_size=2),
                "command": st.lists(TEXTS, max_size=2),
            },
        ),
        "execution": st.fixed_dictionaries(
            {}, optional={"walltime": st.just("1:00:00"), "num_nodes": st.just(2)}
        ),
        "output": st.fixed_dictionaries({"dir": TEXTS}),
        "export": st.lists(st.sampled_from(["csv", "mlflow"])),
        "target": st.fixed_dictionaries({"api_endpoint": st.fixed_dictionaries({"type": st.just("chat")})}),
    },
)


@given(OURS)
def test_a_document_of_ours_is_returned_as_it_is(tree: dict[str, Any]) -> None:
    layer = Layer(tree=tree, name="run.yaml")
    assert not is_nemo(tree)
    assert translate(layer).layer is layer
    assert read([layer], {}).layers == (layer,)


WORDS = sorted(
    {part for key in KEYS for part in key.split(".") if part != "*"} | {"target", "type", "params"}
)
SCALARS = st.sampled_from(
    [
        None,
        True,
        0,
        8,
        0.5,
        "",
        "a",
        "vllm",
        "slurm/default",
        "???",
        "${oc.env:USER}",
        "host:X",
        "lit:1",
        "$(x)",
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=12,
)
PLACED = st.lists(st.tuples(st.sampled_from(KEYS), VALUES), max_size=6)


def planted(entries: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a tree that holds each value at its key, as far as they do not get into each other's way."""
    tree: dict[str, Any] = {"evaluation": {"tasks": [{"name": "a"}]}}
    for key, value in entries:
        place: Any = tree
        *parents, last = key.split(".")
        for part in parents:
            if part == "*" and isinstance(place, list) and place:
                place = place[0]
            else:
                place = place.setdefault(part, {}) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place[last] = value
    return tree


@given(PLACED)
def test_anything_is_translated_or_refused(entries: list[tuple[str, Any]]) -> None:
    layer = parse_yaml(yaml.safe_dump(planted(entries)), "run.yaml")
    before = yaml.safe_dump(layer.tree)
    try:
        translation = translate(layer)
    except UsageError:
        return
    assert yaml.safe_dump(layer.tree) == before
    lines = set(layer.origins.values())
    assert {translation.layer.origin(key) for key, _ in leaves(translation.layer.tree)} <= lines
    again = translate(translation.layer)
    assert again.layer.tree == translation.layer.tree
    assert not again.notes
    assert not again.unset


@given(PLACED, PLACED)
def test_any_layers_are_read_or_refused(one: list[tuple[str, Any]], other: list[tuple[str, Any]]) -> None:
    layers = [parse_yaml(yaml.safe_dump(planted(entries)), "run.yaml") for entries in (one, other)]
    with contextlib.suppress(UsageError):
        read(layers, {"USER": "someone"})
