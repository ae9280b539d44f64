"""All layers of a command together: overrides, interpolations, keys that must be set."""

import pytest

from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import Layer, merge
from evaldock_entrypoints.contract.nemo import read
from evaldock_entrypoints.contract.overrides import override_layer
from evaldock_entrypoints.contract.reader import parse_yaml
from evaldock_entrypoints.contract.validation import canonical, validate

ENVIRON = {"USER": "someone", "SHARE": "/share", "HUB_KEY": "x"}


def valid(*layers: Layer) -> Document:
    """Return the document that layers come to, as a program reads them."""
    reading = read(layers, ENVIRON)
    return validate(Document, merge([canonical(layer, Document) for layer in reading.layers]))


def notes_of(*layers: Layer) -> list[str]:
    return [f"{note.where} {note.key}: {note.message}" for note in read(layers, ENVIRON).notes]


def test_launcher_overrides_reach_all_tasks_or_the_named_one() -> None:
    document = parse_yaml(
        "evaluation: {tasks: [a, {name: lm-eval.b}, {name: c, params: {limit_samples: 9}}]}", "run.yaml"
    )
    nested = "nemo_evaluator_config.config.params"
    overrides = override_layer(
        [
            f"++evaluation.{nested}.limit_samples=5",
            f"evaluation.tasks.a.{nested}.parallelism=1",
            f"evaluation.tasks.lm-eval.b.{nested}.parallelism=2",
            f"evaluation.tasks[2].{nested}.parallelism=3",
        ]
    )
    evaluation = valid(document, overrides).evaluation
    assert evaluation.params.limit_samples == 5
    assert [task.params.parallelism for task in evaluation.tasks] == [1, 2, 3]
    assert evaluation.tasks[2].params.limit_samples == 9


def test_an_override_of_a_task_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        valid(
            parse_yaml("evaluation: {tasks: [gsm8k]}", "run.yaml"),
            override_layer(["evaluation.tasks.gsm9k.params.seed=1"]),
        )
    assert caught.value.next_step == 'did you mean "gsm8k"?'


def test_interpolations_are_filled_from_what_the_documents_come_to() -> None:
    document = parse_yaml(
        "defaults: [execution: local, deployment: vllm, _self_]\n"
        "deployment: {hf_model_handle: org/model, port: 1,\n"
        "  served_model_name: '${deployment.hf_model_handle}', extra_args: '--p ${deployment.port}'}\n"
        "execution: {output_dir: '${oc.env:SHARE}/${oc.env:NOBODY,any}/${deployment.served_model_name}'}\n"
        "evaluation:\n  tasks: [a]\n"
        "  nemo_evaluator_config: {config: {params: {parallelism: '${deployment.port}'}}}",
        "run.yaml",
    )
    read_as = valid(document, override_layer(["deployment.port=8123"]))
    assert read_as.output.dir == "/share/any/org/model"
    assert read_as.deployment.served_model_name == "org/model"
    assert read_as.deployment.extra_args == ["--p", "8123"]
    assert read_as.evaluation.params.parallelism == 8123


@pytest.mark.parametrize(
    ("value", "message", "next_step"),
    [
        ("${oc.env:NOBODY}", '"NOBODY" is not set', "export NOBODY"),
        ("${oc.env:HUB_KEY}", "a secret into the document", "api_key_name: HUB_KEY"),
        ("${deployment.nothing}", "do not set deployment.nothing", "set deployment.nothing"),
        ("${execution.output_dir}", "leads back to itself", "write its value"),
        ("${now:%Y}", "cannot be read", "write its value"),
        ("${hydra:job.name}", "cannot be read", "write its value"),
        ("${oc.decode:x}", "cannot be read", "write its value"),
        ("${unclosed", "not closed", "close it"),
    ],
)
def test_an_interpolation_that_has_no_value_is_refused(value: str, message: str, next_step: str) -> None:
    text = f"defaults: [deployment: none]\nexecution:\n  output_dir: '{value}'"
    with pytest.raises(UsageError) as caught:
        valid(parse_yaml(text, "run.yaml"))
    assert message in caught.value.message
    assert caught.value.where == "run.yaml:3  output.dir"
    assert next_step in (caught.value.next_step or "")


def test_a_run_configuration_has_no_interpolations() -> None:
    text = (
        "config: {type: a}\ntarget: {api_endpoint: {adapter_config: {custom_system_prompt: 'Find ${x}$.'}}}"
    )
    overrides = override_layer(["target.api_endpoint.type=vlm"], "--overrides")
    adapter = valid(parse_yaml(text, "run.yaml"), overrides).target.api_endpoint.adapter_config
    assert adapter is not None
    assert adapter.custom_system_prompt == "Find ${x}$."


def test_a_key_marked_as_missing_must_be_set_by_some_layer() -> None:
    document = parse_yaml("execution:\n  account: ???\n  walltime: ???\nevaluation: {tasks: [a]}", "run.yaml")
    with pytest.raises(UsageError) as caught:
        valid(document, override_layer(["execution.account=mine"]))
    assert caught.value.message == "execution.walltime must be set"
    assert caught.value.where == "run.yaml:3"
    given = override_layer(["execution.account=mine", "execution.time_limit=1:00:00"])
    assert valid(document, given).execution.time_limit == "1:00:00"


def test_a_missing_key_in_a_list_that_another_layer_replaces_is_not_asked_for() -> None:
    document = parse_yaml("evaluation: {tasks: [{name: a, params: {extra: {tokenizer: '???'}}}]}", "run.yaml")
    with pytest.raises(UsageError, match="tokenizer must be set"):
        valid(document)
    assert valid(document, override_layer(["evaluation.tasks=[b]"])).evaluation.tasks[0].name == "b"


def test_notes_name_line_and_key_once() -> None:
    document = parse_yaml("defaults: [execution: local]\nexecution:\n  mode: parallel", "run.yaml")
    assert notes_of(document, document) == ["run.yaml:3 execution.mode: tasks run one after another"]
