from dataclasses import replace
from typing import Any

import pytest
from tests.kit.plans import plan_of

from evaldock.plan import SCORING_LIMITS, Plan
from evaldock_entrypoints.contract.errors import ExitCode, NotBuiltError, UsageError

ENDPOINT = {
    "target": {"api_endpoint": {"url": "https://models.example/v1/chat/completions", "model_id": "m"}}
}
DEPLOYMENT = {"deployment": {"type": "llamacpp", "model_path": "models/tiny.gguf"}}


def plan(*tasks: Any, **sections: Any) -> Plan:
    return plan_of({"evaluation": {"tasks": list(tasks)}, **sections})


def test_a_deployment_seals_the_harness_in_with_the_server() -> None:
    made = plan("arc_easy", **DEPLOYMENT)
    assert made.sealed
    assert made.server is not None
    assert made.server.unit.network == "run"
    assert {unit.network for evaluation in made.evaluations for unit in evaluation.units} == {"run"}


def test_the_server_gets_the_model_read_only_and_its_name() -> None:
    server = plan("arc_easy", **DEPLOYMENT).server
    assert server is not None
    (mount,) = server.unit.mounts
    assert (mount.source, mount.read_only) == ("/home/me/models/tiny.gguf", True)
    argv = server.unit.argv
    assert argv[argv.index("--served_model_name") + 1] == "tiny.gguf"


def test_readiness_is_probed_from_where_the_harness_will_stand() -> None:
    server = plan("arc_easy", **DEPLOYMENT).server
    assert server is not None
    assert server.probe.network == "run"
    assert server.probe.argv[:2] == ("run_eval", "check")


def test_generated_code_is_scored_in_a_container_of_its_own_without_network() -> None:
    generate, score, prove = plan("humaneval", **DEPLOYMENT).evaluations[0].units
    assert (generate.role, generate.network) == ("evaluation", "run")
    assert (score.role, score.network, score.limits) == ("scoring", "none", SCORING_LIMITS)
    assert "--allow_code_execution" in score.argv
    assert "--allow_code_execution" not in generate.argv
    assert "--allow_code_execution" not in prove.argv
    assert (prove.role, prove.network) == ("evaluation", "none")


def test_generated_code_can_write_its_own_folder_and_no_result() -> None:
    score = plan("humaneval", **DEPLOYMENT).evaluations[0].units[1]
    writable = [mount.target for mount in score.mounts if not mount.read_only]
    assert writable == ["/results/native/score"]


def test_a_key_goes_by_name_to_the_unit_that_talks_to_the_endpoint_only() -> None:
    target = {"api_endpoint": {**ENDPOINT["target"]["api_endpoint"], "api_key_name": "MY_KEY"}}
    generate, score, prove = plan("humaneval", target=target).evaluations[0].units
    assert generate.secret_names == ("MY_KEY",)
    assert score.secret_names == prove.secret_names == ()


def test_an_endpoint_on_this_host_is_reached_through_the_hosts_network() -> None:
    local = {"api_endpoint": {"url": "http://localhost:8000/v1", "model_id": "m"}}
    made = plan("gsm8k", target=local)
    assert made.evaluations[0].units[0].network == "host"
    assert not made.sealed
    assert plan("gsm8k", **ENDPOINT).evaluations[0].units[0].network == "outside"


def test_paths_in_extras_become_mounts() -> None:
    task = {"name": "arc_easy", "params": {"extra": {"tokenizer": "tok"}}}
    unit = plan(task, **DEPLOYMENT).evaluations[0].units[0]
    assert any(
        (mount.source, mount.target) == ("/home/me/tok", "/mnt/extra/tokenizer") for mount in unit.mounts
    )
    assert "params.extra.tokenizer=/mnt/extra/tokenizer" in unit.argv[unit.argv.index("--overrides") + 1]


def test_a_time_limit_reaches_the_container() -> None:
    unit = plan("gsm8k", **ENDPOINT, execution={"time_limit": "02:00:30"}).evaluations[0].units[0]
    assert unit.argv[unit.argv.index("--time_limit_s") + 1] == "7230"


def test_every_unit_drops_to_the_callers_identity() -> None:
    assert plan("gsm8k", **ENDPOINT).user == "1000:1000"


def test_compiling_twice_gives_the_same_plan() -> None:
    assert plan("gsm8k", **ENDPOINT).as_json() == plan("gsm8k", **ENDPOINT).as_json()


@pytest.mark.parametrize(
    ("tasks", "sections", "message", "next_step"),
    [
        (["arc_esy"], ENDPOINT, 'no harness has the task "arc_esy"', "arc_easy"),
        (["lm-eval.humaneval"], ENDPOINT, "no harness has the task", None),
        (["gsm8k"], {}, "neither a deployment nor an endpoint", "deployment"),
        (["gsm8k"], {"deployment": {"type": "llamacpp"}}, "needs a model", None),
        (
            ["arc_easy"],
            {"target": {"api_endpoint": {**ENDPOINT["target"]["api_endpoint"], "type": "chat"}}},
            'needs log-probabilities, and endpoint type "chat" cannot give them',
            "completions_logprob",
        ),
        (
            ["humaneval"],
            {**ENDPOINT, "execution": {"allow_code_execution": False}},
            "runs code that the model wrote",
            "allow it",
        ),
        ([{"name": "gsm8k", "params": {"extra": {"num_fewshots": 5}}}], ENDPOINT, "no extra", "num_fewshot"),
        ([{"name": "gsm8k", "params": {"extra": {"num_fewshot": "five"}}}], ENDPOINT, "is of type int", None),
    ],
)
def test_what_a_document_gets_wrong_is_refused(
    tasks: list[Any], sections: dict[str, Any], message: str, next_step: str | None
) -> None:
    with pytest.raises(UsageError) as caught:
        plan(*tasks, **sections)
    assert message in caught.value.message
    assert (next_step or "") in (caught.value.next_step or "")


@pytest.mark.parametrize(
    "sections",
    [
        {"execution": {"type": "slurm"}},
        {"execution": {"engine": "podman"}},
        {"export": ["junit"]},
        {"execution": {"network": "sealed"}},
        {"execution": {"network": "open"}, "deployment": {"type": "llamacpp", "model_path": "m"}},
        {"deployment": {"type": "llamacpp", "model_path": "m", "image": "mine"}},
        {"target": {"api_endpoint": {"url": "http://h/v1", "model_id": "m", "adapter_config": {}}}},
    ],
)
def test_what_is_not_built_yet_is_refused_and_never_ignored(sections: dict[str, Any]) -> None:
    with pytest.raises(NotBuiltError, match="not built yet") as caught:
        plan("gsm8k", **(ENDPOINT | sections))
    assert caught.value.exit_code is ExitCode.USAGE


def test_two_harnesses_with_one_task_need_a_default_or_a_prefix() -> None:
    from evaldock.registry import load_registry

    registry = load_registry()
    twin = registry.harnesses["human-eval"].definition
    clash = twin.model_copy(update={"framework": twin.framework.model_copy(update={"name": "other"})})
    entry = registry.harnesses["human-eval"].model_copy(update={"definition": clash})
    both = registry.model_copy(update={"harnesses": {**registry.harnesses, "other": entry}})
    with pytest.raises(UsageError, match="several harnesses"):
        both.find_task("humaneval")
    assert both.find_task("other.humaneval")[0] == "other"
    chosen = both.model_copy(update={"default_harness": {"humaneval": "other"}})
    assert chosen.find_task("humaneval")[0] == "other"


def test_limits_are_plain_data() -> None:
    assert replace(SCORING_LIMITS, memory="2g").memory == "2g"
