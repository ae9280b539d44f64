from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.errors import ExitCode, UsageError
from evaldock_entrypoints.contract.loading import (
    Layer,
    load_yaml,
    merge,
    override_layer,
    parse_yaml,
    validate,
)

TREES = st.recursive(
    st.integers() | st.text(max_size=5),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=10,
)
MAPPINGS = st.dictionaries(st.sampled_from("abcd"), TREES, max_size=4)


def read(text: str) -> Document:
    return validate(Document, merge([parse_yaml(text, "run.yaml")]))


@pytest.mark.parametrize(
    ("text", "message", "where", "next_step"),
    [
        (
            "evaluation:\n  tasks:\n    - name: x\n      params: {limit_sample: 3}",
            'unknown key "limit_sample"',
            "run.yaml:4  evaluation.tasks[0].params.limit_sample",
            'did you mean "limit_samples"?',
        ),
        ("evaluation: {tasks: [a]}\ndeploment: {}", 'unknown key "deploment"', "run.yaml:2", "deployment"),
        ("evaluation: {tasks: [a]}\nevaluation: {}", 'key "evaluation" stands twice', "run.yaml:2", None),
        ("evaluation:\n  tasks: []", "at least 1 item", "run.yaml:2", None),
        (
            "evaluation: {tasks: [a]}\ntarget: {api_endpoint: {api_key: sk-1}}",
            "literal secret",
            "run.yaml:2",
            "api_key_name",
        ),
        ("evaluation: {tasks: [a]}\ndeployment: {port: no}", "deployment.port", "run.yaml:2", None),
        ("a: [1", "malformed YAML", "run.yaml:1", None),
        ("- a", "not a mapping", "run.yaml:1", None),
    ],
)
def test_bad_documents_are_refused_with_line_key_and_remedy(
    text: str, message: str, where: str, next_step: str | None
) -> None:
    with pytest.raises(UsageError) as caught:
        read(text)
    assert message in caught.value.message
    assert where in (caught.value.where or "")
    assert (next_step or "") in (caught.value.next_step or "")
    assert caught.value.exit_code is ExitCode.USAGE


def test_alias_bomb_ends_at_a_bound() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(UsageError, match="holds more than"):
        parse_yaml("\n".join(lines), "bomb.yaml")


def test_yaml_11_reads_exponents_as_numbers() -> None:
    assert parse_yaml("a: 1e3\nb: '1e3'", "x").tree["a"] == 1000.0


def test_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        load_yaml(tmp_path / "none.yaml")


def test_a_bare_task_name_and_aliases_are_understood() -> None:
    document = read(
        "evaluation: {tasks: [gsm8k, {name: lm-eval.mmlu}]}\n"
        "execution: {backend: local}\n"
        "deployment: {type: vllm, checkpoint_path: /m/llama, tensor_parallel_size: 4}"
    )
    assert [task.name for task in document.evaluation.tasks] == ["gsm8k", "lm-eval.mmlu"]
    assert document.execution.type == "local"
    assert document.deployment.tensor_parallelism == 4
    assert document.served_model_name() == "llama"


def test_null_unsets_and_an_empty_list_is_empty() -> None:
    base = parse_yaml("a: 1\nb: {c: 2, d: 3}\ne: [1]", "base")
    over = parse_yaml("a: null\nb: {c: null}\ne: []", "over")
    merged = merge([base, over])
    assert merged.tree == {"b": {"d": 3}, "e": []}
    assert merged.origin(("e",)) == "over:3"
    assert merged.origin(("b", "d")) == "base:2"


@given(MAPPINGS)
def test_merging_a_layer_with_itself_changes_nothing(tree: dict[str, Any]) -> None:
    once = merge([Layer(tree=tree, name="a")])
    twice = merge([Layer(tree=tree, name="a"), Layer(tree=tree, name="b")])
    assert once.tree == twice.tree == tree


@given(MAPPINGS, MAPPINGS)
def test_later_leaves_win(first: dict[str, Any], second: dict[str, Any]) -> None:
    merged = merge([Layer(tree=first, name="1"), Layer(tree=second, name="2")]).tree

    def covers(whole: Any, part: Any) -> bool:
        if isinstance(part, dict):
            return isinstance(whole, dict) and all(covers(whole.get(key), part[key]) for key in part)
        return bool(whole == part)

    assert covers(merged, second)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a.b=1", {"a": {"b": 1}}),
        ('evaluation.tasks=["x", "y"]', {"evaluation": {"tasks": ["x", "y"]}}),
        ("a.url=http://h:1/v1", {"a": {"url": "http://h:1/v1"}}),
        ("a=null", {"a": None}),
        ("a=", {"a": ""}),
    ],
)
def test_overrides_are_read_as_yaml(text: str, tree: dict[str, Any]) -> None:
    assert override_layer([text]).tree == tree


def test_an_override_without_value_is_refused() -> None:
    with pytest.raises(UsageError, match="not key=value"):
        override_layer(["a.b"])
