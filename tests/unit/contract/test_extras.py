"""Extras with dots in their names may be written nested; of type `any` they are whatever one word is."""

from typing import Any

import pytest

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.framework import Framework
from evaldock_entrypoints.contract.params import Params
from evaldock_entrypoints.contract.tasks import EVERYWHERE, Requested, effective_extras, plain

FRAMEWORK = Framework.model_validate(
    {
        "framework": {"name": "h", "version": "1", "description": "", "source": "", "license": ""},
        "extras": {
            "judge.top_p": {"type": "float", "description": "", "default": 0.5},
            "judge.model.size": {"type": "any", "description": ""},
            "plain": {"type": "str", "description": ""},
        },
        "phases": [],
        "tasks": [{"name": "t", "description": "", "endpoint_types": ["chat"]}],
    }
)


def extras(tree: dict[str, Any]) -> dict[str, Any]:
    asked = Requested(params=Params(extra=tree), path=EVERYWHERE)
    return plain(effective_extras(FRAMEWORK, FRAMEWORK.tasks[0], asked))


@pytest.mark.parametrize(
    "tree",
    [
        {"judge.top_p": 0.1, "judge.model.size": 7},
        {"judge": {"top_p": 0.1, "model": {"size": 7}}},
        {"judge": {"top_p": 0.1, "model.size": 7}},
    ],
)
def test_dotted_and_nested_are_the_same(tree: dict[str, Any]) -> None:
    assert extras(tree) == {"judge.top_p": 0.1, "judge.model.size": 7, "plain": None}


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"judge": {"topp": 1}}, 'no extra "judge.topp"'),
        ({"judge": {"model": {"size": {"x": 1}}}}, "judge.model.size"),
        ({"plain": {"x": 1}}, '"plain" is of type str'),
        ({"judge": 1}, 'no extra "judge"'),
    ],
)
def test_what_is_not_declared_is_named_in_full(tree: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        extras(tree)


@pytest.mark.parametrize("value", [1, 0.5, "word", True, False, None])
def test_any_is_a_number_a_word_or_a_truth_value(value: object) -> None:
    assert extras({"judge": {"model": {"size": value}}})["judge.model.size"] is value


def test_any_is_no_list() -> None:
    with pytest.raises(UsageError, match="type any"):
        extras({"judge": {"model": {"size": [1]}}})


def test_an_extra_that_a_task_cannot_do_without_is_asked_for() -> None:
    task = FRAMEWORK.tasks[0].model_copy(update={"required_extras": ["plain"]})
    with pytest.raises(UsageError, match=r"needs params\.extra\.plain") as refused:
        effective_extras(FRAMEWORK, task)
    assert "set it" in (refused.value.next_step or "")
