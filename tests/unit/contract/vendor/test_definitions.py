"""Every task of twenty wheels of the vendor is translated, or refused with a reason."""

from collections import Counter

import pytest
import yaml
from jinja2 import Environment, StrictUndefined
from tests.kit.vendor_definitions import vendor_definitions

from evaldock_entrypoints.contract.framework import Framework
from evaldock_entrypoints.contract.vendor.command import render_command
from evaldock_entrypoints.contract.vendor.context import command_context, vendor_texts
from evaldock_entrypoints.contract.vendor.definition import Definition, Entry, read_definition
from evaldock_entrypoints.contract.vendor.translation import Translation, translate

# What `grep -c 'type:'` of the evaluations counts in each wheel.
TASKS = {
    "nvidia-aa-lcr": 1,
    "nvidia-bfcl": 6,
    "nvidia-bigcode-eval": 27,
    "nvidia-crfm-helm": 15,
    "nvidia-eval-factory-garak": 2,
    "nvidia-genai-perf-eval": 4,
    "nvidia-hle": 2,
    "nvidia-ifbench": 2,
    "nvidia-livecodebench": 14,
    "nvidia-lm-eval": 133,
    "nvidia-long-context-eval": 20,
    "nvidia-mmath": 10,
    "nvidia-mtbench-evaluator": 2,
    "nvidia-profbench": 2,
    "nvidia-safety-harness": 6,
    "nvidia-scicode": 3,
    "nvidia-simple-evals": 88,
    "nvidia-tau2": 3,
    "nvidia-tooltalk": 1,
    "nvidia-vlmeval": 7,
}
REFUSED = {"nvidia-vlmeval": {"it needs the capability image_url_with_detail": 7}}
OURS = {
    "config.output_dir": "/results/native/output",
    "target.api_endpoint.url": "http://127.0.0.1:4000/t/h.t/v1/chat/completions",
    "target.api_endpoint.model_id": "meta/llama-3.1-8b",
    "target.api_endpoint.api_key_name": "EVALDOCK_API_KEY",
    "target.api_endpoint.api_key": "EVALDOCK_API_KEY",
    "config.params.limit_samples": 20,
}


def definition(wheel: str) -> Definition:
    return read_definition(vendor_definitions()[wheel], wheel)


def translation(wheel: str) -> Translation:
    return translate(definition(wheel))


@pytest.mark.parametrize("wheel", TASKS)
def test_every_task_of_a_wheel_is_translated_or_refused_with_a_reason(wheel: str) -> None:
    found = translation(wheel)
    refused = REFUSED.get(wheel, {})
    assert Counter(found.refused.values()) == refused
    assert len(found.tasks) == TASKS[wheel] - sum(refused.values())


@pytest.mark.parametrize("wheel", TASKS)
def test_a_translation_is_a_whole_framework(wheel: str) -> None:
    found = translation(wheel)
    about = {"name": wheel, "version": "26.3", "description": "", "source": "", "license": ""}
    tree = {"framework": about, "phases": [], "tasks": found.tasks, "extras": found.extras}
    framework = Framework.model_validate({**tree, "params": found.params, "repeats": found.repeats})
    undeclared = {name for task in framework.tasks for name in task.extras} - framework.extras.keys()
    assert not undeclared


def test_names_of_tasks_are_those_of_eval_type() -> None:
    wanted = {
        one["defaults"]["config"]["type"]
        for one in yaml.safe_load(vendor_definitions()["nvidia-simple-evals"])["evaluations"]
    }
    assert {task["name"] for task in translation("nvidia-simple-evals").tasks} == wanted


def test_tasks_that_read_log_probabilities_ask_for_them() -> None:
    kinds = Counter(tuple(task["endpoint_types"]) for task in translation("nvidia-lm-eval").tasks)
    assert kinds == {("completions_logprob",): 81, ("completions",): 28, ("chat",): 24}


def test_parameters_are_the_task_s_over_the_harness_s() -> None:
    found = translation("nvidia-bigcode-eval")
    tasks = {task["name"]: task for task in found.tasks}
    assert {**found.params, **tasks["humaneval"]["params"]} == {
        "limit_samples": None,
        "max_new_tokens": 1024,
        "max_retries": 5,
        "parallelism": 10,
        "temperature": 0.1,
        "request_timeout": 30,
        "top_p": 0.95,
        "repeats": 20,
    }


def test_types_of_extras_are_told_from_all_their_values() -> None:
    extras = translation("nvidia-simple-evals").extras
    kinds = {name: extra["type"] for name, extra in extras.items()}
    assert kinds == {
        "add_system_prompt": "bool",
        "args": "any",
        "custom_config": "any",
        "downsampling_ratio": "any",
        "judge.backend": "str",
        "judge.max_concurrent_requests": "any",
        "judge.max_tokens": "int",
        "judge.temperature": "float",
        "judge.top_p": "float",
    }


def test_a_further_model_is_a_role_and_its_address_no_extra() -> None:
    found = translation("nvidia-tau2")
    assert {tuple(task["auxiliary"]) for task in found.tasks} == {("user", "judge")}
    assert not {"user.url", "user.model_id", "judge.api_key", "judge.max_retries"} & found.extras.keys()


@pytest.mark.parametrize("wheel", TASKS)
def test_a_command_is_what_the_vendor_s_own_rendering_makes_of_it(wheel: str) -> None:
    """Jinja as the vendor uses it: no sandbox, nothing checked."""
    plain = Environment(undefined=StrictUndefined)
    for entry in definition(wheel).entries:
        if "image_url_with_detail" in entry.capabilities:
            continue
        context = command_context(entry, {**OURS, **missing(entry)})
        expected = plain.from_string(entry.command).render(context)
        assert render_command(entry.command, context, vendor_texts(entry)) == expected


def missing(entry: Entry) -> dict[str, object]:
    """What the vendor's users must set, too."""
    extra = {
        "isl": 1,
        "osl": 1,
        "tokenizer": "/t",
        "max_seq_length": entry.extra.get("max_seq_length") or 1,
        "data_path": None,
        "release_version": entry.extra.get("release_version", "v1"),
        "judge": {"url": "http://127.0.0.1/j", "model_id": "j", "api_key": "KEY"},
        "user": {"url": "http://127.0.0.1/u", "model_id": "u", "api_key": "KEY"},
    }
    nested = {f"{role}.{key}": value for role in ("judge", "user") for key, value in extra[role].items()}
    flat = {name: value for name, value in extra.items() if not isinstance(value, dict)}
    return {
        "target.api_endpoint.type": entry.endpoint_types[0],
        **{f"config.params.extra.{name}": value for name, value in {**flat, **nested}.items()},
    }
