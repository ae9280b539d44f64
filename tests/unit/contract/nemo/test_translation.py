"""One document of NeMo Evaluator 0.2 in our keys.

UPDATE_GOLDEN=1 writes what is expected anew: read the diff then."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from evaldock.supply.paths import checkout_root
from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import Layer, dotted, merge
from evaldock_entrypoints.contract.nemo import read, translate
from evaldock_entrypoints.contract.nemo.draft import leaves
from evaldock_entrypoints.contract.nemo.rows import ROWS
from evaldock_entrypoints.contract.overrides import override_layer, split_overrides
from evaldock_entrypoints.contract.reader import load_yaml, parse_yaml
from evaldock_entrypoints.contract.validation import canonical, validate

FOLDER = checkout_root() / "tests" / "contract" / "nemo"
DOCUMENTS = sorted(FOLDER.glob("*.yaml"))
ENVIRON = {"USER": "someone", "SHARE": "/share", "HUB_KEY": "x"}


def valid(*layers: Layer) -> Document:
    """Return the document that layers come to, as a program reads them."""
    reading = read(layers, ENVIRON)
    return validate(Document, merge([canonical(layer, Document) for layer in reading.layers]))


def tree_of(text: str) -> dict[str, Any]:
    return translate(parse_yaml(text, "run.yaml")).layer.tree


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_a_document_becomes_the_expected_tree_with_the_expected_notes(path: Path) -> None:
    translation = translate(load_yaml(path))
    found = {
        "tree": translation.layer.tree,
        "unset": [dotted(key) for key in translation.unset],
        "notes": [f"{n.where.rpartition(':')[2]} {n.key}: {n.message}" for n in translation.notes],
    }
    expected = FOLDER / "expected" / path.name
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(yaml.safe_dump(found, sort_keys=False, width=100, allow_unicode=True))
    assert found == yaml.safe_load(expected.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_a_translated_document_is_a_valid_document(path: Path) -> None:
    given = override_layer(["execution.account=mine", "execution.output_dir=out"])
    document = valid(load_yaml(path), *([given] if path.stem == "slurm-vllm" else []))
    assert document.evaluation.tasks


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_every_value_keeps_the_line_that_it_was_written_on(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    layer = translate(load_yaml(path)).layer
    for key, value in leaves(layer.tree):
        file, _, line = layer.origin(key).rpartition(":")
        written = lines[int(line) - 1]
        assert file == str(path)
        assert str(value) in written or str(key[-1]) in written or dotted(key) in WRITTEN_OTHERWISE, key


WRITTEN_OTHERWISE = {
    "data.offline",  # HF_HUB_OFFLINE: 1
    "deployment.replicas",  # multiple_instances: true
    "target.api_endpoint.type",  # vlm
}


def test_a_validation_error_names_the_line_of_the_nemo_key() -> None:
    text = "config:\n  type: gsm8k\n  params:\n    temprature: 0.5\n"
    with pytest.raises(UsageError) as caught:
        valid(parse_yaml(text, "run.yaml"))
    assert caught.value.message == 'unknown key "temprature"'
    assert (caught.value.where or "").startswith("run.yaml:4  evaluation.params.temprature")
    assert "temperature" in (caught.value.next_step or "")


@pytest.mark.parametrize(
    ("text", "message", "where", "next_step"),
    [
        ("evaluation:\n  tasks:\n    - {name: a, pre_cmd: make}", "no shell command", "run.yaml:3", "remove"),
        ("evaluation: {tasks: [a], post_cmd: rm x}", "no shell command", "run.yaml:1", "remove"),
        ("deployment: {type: vllm, pre_cmd: ray start}", "no shell command", "deployment.pre_cmd", None),
        ("deployment:\n  type: vllm\n  command: vllm serve x", "shell command", "run.yaml:3", "extra_args"),
        ("deployment: {type: generic, command: a && b}", "needs a shell", "deployment.command", "list"),
        ("deployment: {extra_args: --x $HOME}", "needs a shell", "deployment.extra_args", "list"),
        ('deployment: {extra_args: "--x \'y"}', "no closing quotation", "deployment.extra_args", "list"),
        ("deployment: {hf_model_handle: a/b, checkpoint_path: c}", "both name a model", "run.yaml:1", "null"),
        ("deployment: {endpoints: {chat: /chat}}", "/chat", "deployment.endpoints.chat", "remove"),
        ("deployment: {multiple_instances: true}", "one server per node", "run.yaml:1", "replicas"),
        ("execution: {extra_docker_args: --privileged}", "no further flags", "run.yaml:1", "remove"),
        ("execution: {gres: 'shard:2'}", "not a number of GPUs", "execution.gres", "gpus_per_node"),
        ("execution: {auto_export: {destination_s: [a]}}", '"destination_s"', "run.yaml:1", '"destinations"'),
        ("auxiliary_deployments: {judge: {type: vllm}}", "starts one model", "run.yaml:1", "auxiliary.judge"),
        ("defaults: [deployment/vllm@auxiliary_deployments.judge]", "second model", "run.yaml:1", "judge"),
        ("defaults:\n  - my_base\n  - _self_", '"my_base"', "run.yaml:2", "base.yaml this.yaml"),
        ("defaults:\n  - execution: slurm/ours", '"execution: slurm/ours"', "run.yaml:2", None),
        ("env_vars: {VLLM_USE_V2: lit:1}", '"VLLM_USE_V2"', "run.yaml:1  env_vars.VLLM_USE_V2", "remove"),
        ("env_vars: {HF_TOKEN: hf_abcdef}", "literal secret", "run.yaml:1", "host:HF_TOKEN"),
        ("env_vars: {HF_TOKEN: '???'}", "must be set", "run.yaml:1", None),
        ("config: {type: a, params: {task: b}}", '"b" is not the task', "config.params.task", "harness.b"),
        ("config:\n  typ: a", 'unknown key "typ"', "run.yaml:2  config.typ", '"type"'),
        ("config: {type: a, target: {}}", "below config", "run.yaml:1  config.target", "beside config"),
        ("config: {type: a}\nevaluation: {tasks: [b]}", "beside evaluation.tasks", "run.yaml:1", "keep one"),
        ("config: {type: mmlu}", "another benchmark", "run.yaml:1", "lm-eval.mmlu"),
        ("config: [a]", "no mapping", "run.yaml:1", None),
        ("command: lm-eval {{x}}", "started by its own definition", "run.yaml:1", "framework.yml"),
        (
            "evaluation:\n  nemo_evaluator_config: {config: {params: {temperature: 1}}}\n"
            "  tasks:\n    - name: a\n      nemo_evaluator_config: {config: {params: {temperature: null}}}",
            "does not undo 1",
            "run.yaml:5",
            "write the value",
        ),
        (
            "evaluation:\n  tasks:\n    - {name: a, endpoint_type: chat}\n    - {name: b}",
            "differs between tasks",
            "run.yaml:3",
            "documents of their own",
        ),
        (
            "target: {api_endpoint: {adapter_config: {use_nvcf: true}}}",
            "polling",
            "adapter_config.use_nvcf",
            None,
        ),
    ],
)
def test_what_must_not_be_dropped_is_refused(
    text: str, message: str, where: str, next_step: str | None
) -> None:
    with pytest.raises(UsageError) as caught:
        translate(parse_yaml(text, "run.yaml"))
    assert message in caught.value.message
    assert where in (caught.value.where or "")
    assert (next_step or "") in (caught.value.next_step or "")
    assert "abcdef" not in caught.value.render()


def test_a_literal_key_is_left_for_the_check_of_secrets() -> None:
    text = "config: {type: a}\ntarget:\n  api_endpoint: {api_key: sk-123}"
    with pytest.raises(UsageError, match="literal secret"):
        valid(parse_yaml(text, "run.yaml"))


def test_what_all_tasks_agree_about_holds_for_the_run() -> None:
    task = "{name: %s, endpoint_type: chat, nemo_evaluator_config: {target: {api_endpoint: {stream: true}}}}"
    tree = tree_of(f"evaluation: {{tasks: [{task % 'a'}, {task % 'b'}]}}")
    assert tree == {
        "evaluation": {"tasks": [{"name": "a"}, {"name": "b"}]},
        "target": {"api_endpoint": {"type": "chat", "stream": True}},
    }


def test_an_override_of_one_task_cannot_change_what_holds_for_the_run() -> None:
    with pytest.raises(UsageError) as caught:
        translate(override_layer(["evaluation.tasks[0].endpoint_type=chat"]))
    assert caught.value.where == "-o evaluation.tasks[0].endpoint_type  evaluation.tasks[0].endpoint_type"
    assert caught.value.next_step == "set it for the whole run"


def test_a_layer_without_lines_is_named_itself() -> None:
    tree = {"execution": {"mode": "parallel", "auto_export": ["local"]}, "env_vars": {"HF_HOME": "lit:x"}}
    assert {note.where for note in translate(Layer(tree=tree, name="flag")).notes} == {"flag"}
    with pytest.raises(UsageError) as caught:
        translate(Layer(tree={"env_vars": {"X": "lit:1"}}, name="flag"))
    assert caught.value.where == "flag  env_vars.X"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("--a 1 --b=2", ["--a", "1", "--b=2"]),
        ("--json '{\"a\": [1, 2]}' --c", ["--json", '{"a": [1, 2]}', "--c"]),
        ("--a \\\n  --b", ["--a", "--b"]),
        ("--pattern 'a|b;c'", ["--pattern", "a|b;c"]),
        ("--tag x#1", ["--tag", "x#1"]),
    ],
)
def test_arguments_in_one_string_become_a_list(text: str, words: list[str]) -> None:
    layer = Layer(tree={"deployment": {"extra_args": text}}, name="x")
    assert translate(layer).layer.tree == {"deployment": {"extra_args": words}}


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ("HF_TOKEN: host:MINE", {"hf_token_name": "MINE"}),
        ("HF_TOKEN: runtime:MINE", {"hf_token_name": "MINE"}),
        ("HF_TOKEN: $host:MINE", {"hf_token_name": "MINE"}),
        ("HF_TOKEN: MINE", {"hf_token_name": "MINE"}),
        ("HF_TOKEN: '${oc.env:MINE}'", {"hf_token_name": "MINE"}),
        ("HF_TOKEN: $MINE", {"hf_token_name": "MINE"}),
        ("HF_HUB_OFFLINE: lit:1", {"offline": True}),
        ("TRANSFORMERS_OFFLINE: 0", None),
        ("HF_ENDPOINT: lit:https://hub.example.org", {"hf_endpoint": "https://hub.example.org"}),
        ("NCCL_DEBUG: null", None),
    ],
)
def test_a_variable_becomes_the_key_that_it_stands_for(value: str, data: dict[str, Any] | None) -> None:
    assert tree_of(f"deployment:\n  type: none\n  env_vars: {{{value}}}").get("data") == data


def test_a_key_under_another_name_on_this_host_is_named_so() -> None:
    tree = tree_of("target: {api_endpoint: {api_key_name: KEY}}\nenv_vars: {KEY: host:MY_KEY}")
    assert tree == {"target": {"api_endpoint": {"api_key_name": "MY_KEY"}}}


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        ("evaluation: {tasks: [hellaswag]}", ["num_fewshot: 10"]),
        ("evaluation: {tasks: [{name: lm-evaluation-harness.winogrande}]}", ["num_fewshot: 5"]),
        ("evaluation: {tasks: [{name: winogrande, params: {extra: {num_fewshot: 0}}}]}", []),
        ("evaluation: {tasks: [hellaswag], params: {extra: {num_fewshot: 0}}}", []),
        ("evaluation: {tasks: [piqa, gsm8k]}", ["at completions"]),
        ("evaluation: {tasks: [gsm8k]}\ntarget: {api_endpoint: {type: chat}}", []),
        ("evaluation: {tasks: [gsm8k]}\ntarget: {api_endpoint: {url: http://localhost/v1/completions/}}", []),
        ("evaluation: {tasks: [humaneval]}", ["human-eval"]),
        ("evaluation: {tasks: [lm-eval.mmlu, 3, {params: {}}]}", []),
    ],
)
def test_a_task_that_nemo_asks_otherwise_is_noted(text: str, notes: list[str]) -> None:
    layer = parse_yaml(f"{text}\ndefaults: [_self_]", "run.yaml")
    found = translate(layer).notes
    assert len(found) == len(notes)
    assert all(note in one.message for note, one in zip(notes, found, strict=True))
    assert all(one.where == "run.yaml:1" for one in found)


def test_groups_named_in_place_of_a_section_are_types() -> None:
    layer = override_layer(["deployment=vllm_ray", "execution=slurm/default"])
    assert translate(layer).layer.tree == {"deployment": {"type": "vllm"}, "execution": {"type": "slurm"}}


def test_overrides_of_run_eval_are_translated() -> None:
    text = "config.params.limit_samples=5,target.api_endpoint.url=http://localhost:1/v1,config.output_dir=out"
    layer = translate(override_layer(split_overrides(text), "--overrides")).layer
    assert layer.tree == {
        "evaluation": {"params": {"limit_samples": 5}},
        "target": {"api_endpoint": {"url": "http://localhost:1/v1"}},
        "output": {"dir": "out"},
    }
    assert (
        layer.origin(("evaluation", "params", "limit_samples")) == "--overrides config.params.limit_samples"
    )


def test_the_page_names_every_key() -> None:
    page = (checkout_root() / "docs" / "nemo.md").read_text(encoding="utf-8")
    names = {row.key.replace("evaluation.tasks.*", "evaluation.tasks[]") for row in ROWS}
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


def test_the_documents_of_the_page_are_read_without_a_note() -> None:
    page = (checkout_root() / "docs" / "nemo.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        layer = parse_yaml(block, "page")
        assert valid(layer).evaluation.tasks
        assert not read([layer], ENVIRON).notes
