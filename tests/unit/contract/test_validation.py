"""Documents: what is understood, and how what is not is refused."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.errors import ExitCode, UsageError
from evaldock_entrypoints.contract.layers import Layer
from evaldock_entrypoints.contract.overrides import override_layer
from evaldock_entrypoints.contract.reader import parse_yaml
from evaldock_entrypoints.contract.reading import flag_layer
from evaldock_entrypoints.contract.reading import read as read_layers
from evaldock_entrypoints.contract.validation import validate

NO_FLAGS = Layer(tree={}, name="flag")


def read(text: str, *overrides: str) -> Document:
    layers = [parse_yaml(text, "run.yaml")]
    whole = read_layers(layers, flags=NO_FLAGS, overrides=override_layer(overrides), environ={})
    return validate(Document, whole.merged)


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
        (
            "evaluation: {tasks: [a]}\nlimit_samples: 3",
            'unknown key "limit_samples"',
            "run.yaml:2",
            "it belongs under evaluation.tasks[].params or evaluation.params",
        ),
        ("deployment:\n  tensor_parallel_sise: 2", "unknown key", "run.yaml:2", "tensor_parallel_size"),
        ("exection: null", 'unknown key "exection"', "run.yaml:1  exection", '"execution"'),
        (
            "target:\n  auxiliary: {judge: {url: null, modle_id: null}}",
            'unknown key "modle_id"',
            "run.yaml:2  target.auxiliary.judge.modle_id",
            '"model_id"',
        ),
        (
            "target:\n  auxiliary:\n    a/../judge: {url: http://j, model_id: j}",
            '"a/../judge" cannot name a role',
            "run.yaml:3  target.auxiliary.a/../judge",
            "a lower-case letter, then",
        ),
        ("target: {auxiliary: {Judge: {}}}", '"Judge" cannot name a role', "run.yaml:1", None),
        ("target: {auxiliary: {5: {}}}", '"5" cannot name a role', "run.yaml:1", None),
        (
            "evaluation:\n  tasks:\n    - harness: x\n      nam: gsm8k",
            'unknown key "nam"',
            "run.yaml:4  evaluation.tasks[0].nam",
            'did you mean "name"?',
        ),
        (
            "evaluation: {tasks: [{}]}",
            'the key "evaluation.tasks[0].name" is missing',
            "run.yaml:1",
            "add it",
        ),
        ("evaluation: {tasks: [{name: a, imag: null}]}", "unknown key", "tasks[0].imag", '"image"'),
        ("evaluation: {tasks: [a]}\nevaluation: {}", 'key "evaluation" stands twice', "run.yaml:2", None),
        ("evaluation:\n  tasks: gsm8k", "no list", "run.yaml:2", 'give a list, also of one task: ["gsm8k"]'),
        ("evaluation:\n  tasks: [3]", "3 is no mapping", "run.yaml:2  evaluation.tasks[0]", None),
        (
            "evaluation: {tasks: [a]}\ntarget: {api_endpoint: {api_key: sk-1}}",
            "literal secret",
            "run.yaml:2",
            "api_key_name",
        ),
        ("deployment: {port: no}", "deployment.port", "run.yaml:1", None),
        ("deployment:\n  port: 080", "octal", "run.yaml:2  deployment.port", "write 80"),
        ('deployment: {port: "8080"}', "no whole number", "run.yaml:1  deployment.port", "write 8080"),
        ("target: {api_endpoint: {model_id: 405}}", "405 is no text", "run.yaml:1", 'quote it: "405"'),
        ("export: junit", "no list", "run.yaml:1  export", "write [item"),
        ("deployment: []", "no mapping", "run.yaml:1  deployment", None),
        ("execution: {gpus: [0, 0]}", "names no GPUs", "run.yaml:1  execution.gpus", "a list of device ids"),
        ("evaluation: {params: {limit_samples: 1.5}}", "neither", "run.yaml:1", "a share lies below 1"),
        (
            "deployment:\n  port: 1\n  tensor_parallelism: 2\n  tensor_parallel_size: 2",
            "other spelling",
            "run.yaml:4  deployment.tensor_parallel_size",
            'keep "tensor_parallelism"',
        ),
        (
            "deployment: {extra_args: [--api-key=abc]}",
            '"--api-key" hands a secret over',
            "run.yaml:1  deployment.extra_args[0]",
            None,
        ),
        (
            "target: {api_endpoint: {adapter_config: {headers_to_add: {Authorization: Bearer x}}}}",
            "literal secret",
            "run.yaml:1",
            None,
        ),
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


def test_several_mistakes_are_named_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        read("deployment: {prot: 1}\nexecution:\n  tpye: local\n")
    assert caught.value.message == 'unknown key "prot"'
    assert 'also run.yaml:3  execution.tpye: unknown key "tpye"' in (caught.value.where or "")


def test_a_bare_task_name_and_aliases_are_understood() -> None:
    document = read(
        "evaluation: {tasks: [gsm8k, {name: lm-eval.mmlu}]}\n"
        "execution: {backend: local, walltime: 02:00:00}\n"
        "deployment: {type: vllm, checkpoint_path: /m/llama, tensor_parallel_size: 4}"
    )
    assert [task.name for task in document.evaluation.tasks] == ["gsm8k", "lm-eval.mmlu"]
    assert document.execution.type == "local"
    assert document.execution.time_limit_s() == 7200
    assert document.deployment.tensor_parallelism == 4
    assert document.served_model_name() == "llama"


def test_an_override_by_our_name_beats_a_document_that_uses_the_alias() -> None:
    document = read("deployment: {type: vllm, hf_model_handle: a/b}", "deployment.model_path=/m/c")
    assert document.deployment.model_path == "/m/c"


def test_words_of_yaml_1_1_are_switches_where_a_switch_is_meant_and_text_elsewhere() -> None:
    document = read("deployment: {cuda_graphs: no, served_model_name: no}\ndata: {offline: On}")
    assert document.deployment.cuda_graphs is False
    assert document.deployment.served_model_name == "no"
    assert document.data.offline is True


def test_exponents_are_whole_numbers_where_they_are_whole() -> None:
    params = read("evaluation: {params: {limit_samples: 1e3, max_new_tokens: 2e2}}").evaluation.params
    assert (params.limit_samples, params.max_new_tokens) == (1000, 200)


def test_parameters_for_every_task_on_the_command_line_beat_a_tasks_own() -> None:
    document = read(
        "evaluation: {tasks: [a, {name: b, params: {limit_samples: 9, seed: 1}}]}",
        "evaluation.params.limit_samples=3",
        "evaluation.tasks[0].params.limit_samples=4",
    )
    first, second = (task.params for task in document.evaluation.tasks)
    assert (first.limit_samples, second.limit_samples, second.seed) == (4, 3, 1)


KEYS = st.sampled_from(
    [
        *("deployment", "target", "api_endpoint", "url", "evaluation", "tasks", "name", "params", "extra"),
        *("seed", "execution", "gpus", "type", "port", "auxiliary", "judge", "adapter_config", "nonsense"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=25,
)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(KEYS, TREES, max_size=5))
def test_any_tree_is_a_document_or_a_usage_error_with_its_place_within_a_second(tree: dict[str, Any]) -> None:
    start = time.process_time()
    refused = refused_tree(tree)
    assert time.process_time() - start < 1
    assert refused is None or (refused.where and refused.next_step)


def refused_tree(tree: dict[str, Any]) -> UsageError | None:
    """Return why the tree is refused; anything but a UsageError passes through."""
    try:
        whole = read_layers([Layer(tree=tree, name="fuzz")], flags=NO_FLAGS, environ={})
        validate(Document, whole.merged)
    except UsageError as error:
        return error
    return None


def test_null_under_a_known_key_or_in_a_free_mapping_is_fine() -> None:
    read("deployment: null\nexecution: {gpus: null}\nevaluation: {params: {extra: {any: null}}}")
    read("target: {auxiliary: {judge: null}, api_endpoint: {adapter_config: null}}")


def test_a_flag_that_goes_to_every_task_is_refused_once() -> None:
    layers = [parse_yaml("evaluation: {tasks: [a, b]}", "run.yaml")]
    flags = flag_layer({("evaluation", "params", "parallelism"): ("--parallelism", 0)})
    whole = read_layers(layers, flags=flags, environ={})
    with pytest.raises(UsageError) as raised:
        validate(Document, whole.merged)
    assert raised.value.render().count("--parallelism") == 1


def test_further_mistakes_are_named_once_each_with_their_key_once() -> None:
    with pytest.raises(UsageError) as raised:
        read("execution: {nodes: several}\ndeployment: {port: many}")
    assert raised.value.render().count("execution.nodes") == 1
    assert raised.value.render().count("deployment.port") == 2  # in the message and in its place


def test_a_name_with_a_hyphen_stays_in_the_path() -> None:
    with pytest.raises(UsageError) as raised:
        read("target:\n  auxiliary:\n    my-judge: {modle_id: a}")
    assert raised.value.where == "run.yaml:3  target.auxiliary.my-judge.modle_id"
