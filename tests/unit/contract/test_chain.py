"""From adapter_config to the adapter's chain: order, spellings, refusals."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaldock.supply.paths import checkout_root
from evaldock_entrypoints.contract.built_in_interceptors import BUILT_IN
from evaldock_entrypoints.contract.chain import caching_of, chain_of, notes_of, policy_of, streaming_of
from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.flat_adapter import FLAT_STEPS, IDLE_KEYS
from evaldock_entrypoints.contract.layers import KeyPath, Layer, Merged
from evaldock_entrypoints.contract.overrides import override_layer
from evaldock_entrypoints.contract.reader import load_yaml, parse_yaml
from evaldock_entrypoints.contract.reading import read
from evaldock_entrypoints.contract.target import AdapterConfig, Interceptor
from evaldock_entrypoints.contract.validation import validate

NO_FLAGS = Layer(tree={}, name="flag")
ADAPTER: KeyPath = ("target", "api_endpoint", "adapter_config")
DEFAULT = ["caching", "endpoint", "response_stats"]
NEMO = sorted((checkout_root() / "tests" / "contract" / "nemo").glob("*.yaml"))


def document(text: str, *overrides: str) -> tuple[AdapterConfig | None, Merged]:
    """Return what stands under adapter_config; the text is written below that key."""
    lines = "\n".join(f"      {line}" for line in text.splitlines())
    whole = f"target:\n  api_endpoint:\n    type: chat\n    adapter_config:\n{lines}\n"
    return documents([parse_yaml(whole, "run.yaml")], *overrides)


def documents(layers: list[Layer], *overrides: str) -> tuple[AdapterConfig | None, Merged]:
    merged = read(layers, flags=NO_FLAGS, overrides=override_layer(overrides), environ={}).merged
    return validate(Document, merged).target.api_endpoint.adapter_config, merged


def chain(text: str, *overrides: str) -> tuple[Interceptor, ...]:
    return chain_of(*document(text, *overrides), ADAPTER)


def names(text: str) -> list[str]:
    return [one.name for one in chain(text)]


def config(text: str, name: str, *overrides: str) -> dict[str, Any]:
    return next(one.config for one in chain(text, *overrides) if one.name == name)


def test_nothing_given_is_the_default_chain() -> None:
    found = chain_of(None, Merged(tree={}, origins={}), ADAPTER)
    assert [one.name for one in found] == DEFAULT
    assert caching_of(found).reuse
    assert policy_of(found).connect_timeout_s == 10
    assert streaming_of(found).mode == "auto"


def test_an_empty_list_is_no_interceptor_and_not_the_default() -> None:
    assert names("interceptors: []") == ["caching", "endpoint"]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("[{name: drop_params, config: {params: [seed]}}]", ["drop_params", "caching", "endpoint"]),
        ("[{name: endpoint}, {name: reasoning}]", ["caching", "endpoint", "reasoning"]),
        ("[{name: caching}, {name: reasoning}]", ["caching", "reasoning", "endpoint"]),
        ("[{name: log_tokens}]", ["token_log", "caching", "endpoint"]),
        ("[{name: reasoning, enabled: false}]", ["caching", "endpoint"]),
        ("[{name: 'my.steps:Shorter', config: {anything: 1}}]", ["my.steps:Shorter", "caching", "endpoint"]),
    ],
)
def test_a_list_keeps_its_order_and_gets_store_and_endpoint(listed: str, expected: list[str]) -> None:
    assert names(f"interceptors: {listed}") == expected


def test_caching_switched_off_keeps_the_store_and_reuses_nothing() -> None:
    for text in (
        "interceptors: [{name: caching, enabled: false}]",
        "use_caching: false",
        "reuse_cached_responses: false",
    ):
        assert not caching_of(chain(text)).reuse, text


def test_settings_come_out_in_our_spelling() -> None:
    text = "interceptors: [{name: caching, config: {cache_dir: answers, reuse_cached_responses: true}}]"
    assert config(text, "caching") == {"shared": "answers", "reuse": True}
    assert (
        policy_of(chain("interceptors: [{name: endpoint, config: {max_concurrency: 3}}]")).max_concurrency
        == 3
    )


def test_best_effort_is_passed_on() -> None:
    found = chain("interceptors: [{name: token_log, best_effort: true}, {name: reasoning}]")
    assert [one.best_effort for one in found] == [True, False, False, False]


FLAT = """\
use_system_prompt: true
custom_system_prompt: Be brief.
params_to_add: {top_k: 1, stop: null}
use_request_logging: true
max_logged_requests: 7
caching_dir: answers
use_response_logging: true
log_failed_requests: true
process_reasoning_traces: true
end_reasoning_token: </r>
include_if_reasoning_not_finished: false
track_reasoning: true
use_progress_tracking: true
progress_tracking_url: http://localhost:8000
progress_tracking_interval: 5
use_raise_client_errors: true"""
LISTED = """\
interceptors:
  - {name: system_message, config: {system_message: Be brief.}}
  - {name: payload_modifier, config: {params_to_add: {top_k: 1, stop: null}}}
  - {name: request_logging, config: {max_requests: 7}}
  - {name: caching, config: {shared: answers}}
  - {name: endpoint}
  - {name: response_stats}
  - {name: response_logging, config: {log_failed_requests: true}}
  - name: reasoning
    config: {end_reasoning_token: </r>, include_if_not_finished: false, track: true}
  - {name: progress_tracking, config: {url: "http://localhost:8000", interval: 5, request_method: POST}}
  - {name: raise_client_errors}"""


def test_the_flat_spelling_is_the_same_chain() -> None:
    assert chain(FLAT) == chain(LISTED)


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("custom_system_prompt: x", "system_message", {"system_message": "x"}),
        ("end_reasoning_token: </r>", "reasoning", {"end_reasoning_token": "</r>"}),
        ("log_failed_requests: true", "response_logging", {"max_responses": 0, "log_failed_requests": True}),
        ("use_reasoning: true", "reasoning", {}),
        ("headers_to_add: {x-run: a}", "payload_modifier", {"headers_to_add": {"x-run": "a"}}),
    ],
)
def test_a_flat_setting_alone_turns_its_interceptor_on(
    text: str, name: str, expected: dict[str, Any]
) -> None:
    assert config(text, name) == expected


@pytest.mark.parametrize(
    "text",
    [
        "{use_system_prompt: false, custom_system_prompt: x}",
        "{use_reasoning: false, end_reasoning_token: </r>}",
        "{log_failed_requests: false, params_to_add: {}, params_to_remove: []}",
        "{generate_html_report: true, html_report_size: 5, save_requests: true}",
        "endpoint_type: chat",
    ],
)
def test_what_is_switched_off_or_says_nothing_leaves_the_default_chain(text: str) -> None:
    assert names(text) == DEFAULT


def test_statistics_can_be_switched_off() -> None:
    assert names("tracking_requests_stats: false") == ["caching", "endpoint"]


def test_null_is_a_value_where_an_interceptor_knows_it_and_else_its_default() -> None:
    text = "interceptors: [{name: request_logging, config: {max_requests: null, log_request_body: null}}]"
    assert config(text, "request_logging") == {"max_requests": None}
    assert config("max_logged_requests: null\nuse_request_logging: true", "request_logging") == {}


def test_an_override_of_one_setting_reaches_the_chain() -> None:
    text = "interceptors: [{name: request_logging, config: {max_requests: 3}}]"
    override = "target.api_endpoint.adapter_config.interceptors[0].config.max_requests=null"
    assert config(text, "request_logging", override) == {"max_requests": None}


REFUSED = [
    (
        "interceptors: [{name: reasonig}]",
        'unknown interceptor "reasonig"',
        "interceptors[0].name",
        '"reasoning"',
    ),
    ("interceptors: [{name: nvcf}]", "polling", "interceptors[0].name", "answers at once"),
    (
        "interceptors:\n- name: reasoning\n  config:\n    end_reasoning_tokn: x",
        'unknown key "end_reasoning_tokn"',
        "run.yaml:8  target.api_endpoint.adapter_config.interceptors[0].config.end_reasoning_tokn",
        'did you mean "end_reasoning_token"',
    ),
    ("interceptors: [{name: drop_params}]", '"params" is missing', "interceptors[0].config", "add it"),
    ("interceptors: [{name: endpoint, enabled: false}]", "nobody is asked", "interceptors[0]", "enabled"),
    ("interceptors: [{name: reasoning}, {name: reasoning}]", "twice", "interceptors[1]", "keep one"),
    (
        "interceptors: [{name: endpoint}, {name: system_message, config: {system_message: x}}]",
        "after",
        "interceptors[1]",
        'before "endpoint"',
    ),
    (
        "interceptors: [{name: reasoning_replay}, {name: endpoint}, {name: reasoning}]",
        "cuts off",
        "interceptors[2]",
        "before",
    ),
    (
        "interceptors: [{name: streaming, config: {mode: pass}}, {name: reasoning}]",
        "cannot be changed",
        "interceptors[1]",
        "coalesce",
    ),
    (
        "interceptors: []\nuse_caching: true",
        "two spellings",
        "run.yaml:6  target.api_endpoint.adapter_config.use_caching",
        "keep the list",
    ),
    ("use_system_prompt: true", "without a system prompt", "use_system_prompt", "custom_system_prompt"),
    ("{use_reasoning: true, process_reasoning_traces: false}", "contradict", "adapter_config", "keep"),
    ("endpoint_type: completions", "type belongs", "run.yaml:5", "api_endpoint.type: completions"),
    ("post_eval_hooks: [{name: mine}]", "nothing runs after a task", "post_eval_hooks[0]", "remove"),
    ("discovery: {module: [a]}", 'unknown key "module"', "discovery.module", '"modules"'),
    ("headers_to_add: {X-Auth: abc}", "carries a secret", "run.yaml:5", "api_key_name"),
    ("headers_to_add: {X-Run: Bearer abc}", "carries a secret", "run.yaml:5", "api_key_name"),
    ("headers_to_add: {Content-Length: '3'}", "cannot be set", "run.yaml:5", "remove"),
    ('headers_to_add: {X-Run: "a\\nb"}', "no header can carry", "run.yaml:5", "plain"),
    ("headers_to_rename: {x-run: Authorization}", "carries a secret", "run.yaml:5", "api_key_name"),
    (
        "interceptors: [{name: payload_modifier, config: {headers_to_add: {Authorization: Bearer x}}}]",
        "literal secret",
        "run.yaml:5",
        "environment variable",
    ),
    (
        "interceptors: [{name: payload_modifier}]",
        "changes nothing",
        "interceptors[0].config",
        "params_to_add",
    ),
    ("progress_tracking_interval: 0", "greater than or equal to 1", "run.yaml:5", "change it"),
    ("progress_tracking_url: 'http://$HOST/x'", "no http(s) address", "progress_tracking_url", "HOST:PORT"),
    ("progress_tracking_url: 'http://h/?api_key=x'", "holds a key", "progress_tracking_url", "leave it out"),
    (
        "interceptors: [{name: reasoning, config: {strip: true, migrate_reasoning_content: true}}]",
        "contradict",
        "interceptors[0].config",
        "keep one",
    ),
    (
        "interceptors: [{name: raise_client_errors, config: {status_codes: [408]}}]",
        "408 is both",
        "interceptors[0].config",
        "remove it",
    ),
    ("interceptors: [{name: endpoint, config: {max_concurrency: 0}}]", "max_concurrency", "config", "change"),
    (
        "interceptors: [{name: caching, config: {reuse: true, reuse_cached_responses: false}}]",
        'unknown key "reuse_cached_responses"',
        "config.reuse_cached_responses",
        "reuse",
    ),
]


@pytest.mark.parametrize(("text", "message", "where", "next_step"), REFUSED)
def test_what_cannot_be_carried_out_is_refused_with_its_place(
    text: str, message: str, where: str, next_step: str
) -> None:
    with pytest.raises(UsageError) as caught:
        chain(text)
    assert message in caught.value.message
    assert where in (caught.value.where or "")
    assert next_step in (caught.value.next_step or "")


def test_what_has_no_effect_is_said_with_its_place() -> None:
    text = (
        "generate_html_report: true\npost_eval_hooks: [{name: post_eval_report}]\n"
        "discovery: {modules: [mine], dirs: []}"
    )
    found = notes_of(*document(text), ADAPTER)
    assert [note.partition(": ")[0].split(".")[-1] for note in found] == [
        "generate_html_report",
        "post_eval_hooks[0]",
        "modules",
    ]
    listed = "interceptors: [{name: caching, config: {save_requests: true, log_level: INFO}}]"
    assert [note.rpartition("config.")[2].split(":")[0] for note in notes_of(*document(listed), ADAPTER)] == [
        "save_requests",
        "log_level",
    ]
    assert config(listed, "caching") == {}


def test_a_package_in_a_folder_of_ones_own_brings_names(tmp_path: Path) -> None:
    package = tmp_path / "own_steps-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: own-steps\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[evaldock.interceptors]\nshorter = own_steps:Shorter\n")
    text = f"discovery: {{dirs: ['{tmp_path}']}}\ninterceptors: [{{name: shorter, config: {{x: 1}}}}]"
    assert names(text) == ["shorter", "caching", "endpoint"]
    assert notes_of(*document(text), ADAPTER) == ()


def test_no_flat_key_is_left_without_a_meaning() -> None:
    known = {key for step in FLAT_STEPS for key in (*step.switches, *step.settings, *step.further)}
    beside = {"interceptors", "post_eval_hooks", "discovery", "endpoint_type", "use_caching"}
    assert known | beside | set(IDLE_KEYS) == set(AdapterConfig.model_fields)


@pytest.mark.parametrize("path", NEMO, ids=lambda path: path.stem)
def test_documents_of_nemo_come_to_a_chain(path: Path) -> None:
    overrides = ["execution.account=mine", "execution.output_dir=out"] if path.stem == "slurm-vllm" else []
    adapter, merged = documents([load_yaml(path)], *overrides)
    assert {"caching", "endpoint"} <= {one.name for one in chain_of(adapter, merged, ADAPTER)}


@given(
    listed=st.lists(
        st.sampled_from(sorted({*BUILT_IN} - {"system_message", "payload_modifier", "drop_params"}))
    )
)
def test_every_chain_that_is_taken_holds_store_and_endpoint_once(listed: list[str]) -> None:
    needed = {"turn_counter": {"max_turns": 3}}
    given_chain = [Interceptor(name=name, config=needed.get(name, {})) for name in listed]
    try:
        found = chain_of(AdapterConfig(interceptors=given_chain), Merged(tree={}, origins={}), ADAPTER)
    except UsageError:
        return
    taken = [one.name for one in found]
    assert taken.count("caching") == taken.count("endpoint") == 1
    assert [name for name in taken if name in listed] == listed
