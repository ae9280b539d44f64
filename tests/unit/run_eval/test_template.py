import pytest

from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.run_eval.template import render

VALUES = {"params": {"seed": 3, "limit": None, "name": "a,b; rm -rf $HOME"}, "endpoint": {"type": "chat"}}


def test_a_lone_placeholder_keeps_its_type() -> None:
    assert render({"seed": "{params.seed}"}, VALUES) == {"seed": 3}


def test_values_are_never_interpreted() -> None:
    assert render(["--name", "{params.name}"], VALUES) == ["--name", "a,b; rm -rf $HOME"]


def test_what_is_unset_is_left_out() -> None:
    assert render({"limit": "{params.limit}", "list": ["{params.limit}", "x"]}, VALUES) == {"list": ["x"]}


def test_a_branch_is_picked_by_value() -> None:
    template = {"model": {"$by": "endpoint.type", "chat": "local-chat", "completions": "local"}}
    assert render(template, VALUES) == {"model": "local-chat"}


@pytest.mark.parametrize(
    "template", ["{params.sed}", "{nope}", {"$by": "endpoint.type", "completions": 1}, "x {params.sed} y"]
)
def test_an_unknown_name_or_branch_is_an_error(template: object) -> None:
    with pytest.raises(HarnessError):
        render(template, VALUES)
