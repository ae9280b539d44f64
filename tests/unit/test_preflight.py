"""What the host asks endpoints before an engine is asked for anything."""

import socket
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.kit.plans import plan_of

from evaldock import preflight
from evaldock.plan import Plan
from evaldock.preflight import missing_paths, refuse_unready_endpoints, unset_keys
from evaldock.testkit.fake_endpoint import running_endpoint
from evaldock_entrypoints.contract.errors import EndpointError
from evaldock_entrypoints.contract.layers import Layer, merge

LISTENS_NOT = "http://127.0.0.1:9/v1"


def planned(run_dir: Path, url: str, steps: list[dict[str, Any]] | None = None, **target: Any) -> Plan:
    endpoint: dict[str, Any] = {"url": url, "model_id": "fake-model", "type": "completions"}
    if steps is not None:
        endpoint["adapter_config"] = {"interceptors": steps}
    tree = {"target": {"api_endpoint": endpoint, **target}, "evaluation": {"tasks": ["gsm8k_cot"]}}
    return replace(plan_of(tree), run_dir=str(run_dir))


def asked(plan: Plan) -> list[str]:
    """Ask as a run does; return what was said."""
    said: list[str] = []
    refuse_unready_endpoints(plan, {}, said.append)
    return said


@pytest.fixture(autouse=True)
def _short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_WAIT_S", 0.2)


def test_an_endpoint_that_comes_up_late_is_waited_for_and_that_is_said(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    steps = [{"name": "endpoint", "config": {"readiness_timeout_s": 30}}]
    plan = planned(tmp_path, f"http://127.0.0.1:{port}/v1", steps)
    with ExitStack() as stack:

        def start() -> None:
            time.sleep(0.5)
            stack.enter_context(running_endpoint(port=port))

        starter = threading.Thread(target=start)
        starter.start()
        said = asked(plan)
        starter.join()
    assert said == [f"waiting for endpoint http://127.0.0.1:{port}/v1, at most 30 s"]


def test_without_patience_an_absent_endpoint_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match="connection refused"):
        asked(planned(tmp_path, LISTENS_NOT))


@pytest.mark.parametrize("where", ["replica", "judge"])
def test_every_address_is_asked(tmp_path: Path, where: str) -> None:
    steps = [{"name": "endpoint", "config": {"replicas": [LISTENS_NOT]}}]
    judge = {"judge": {"url": LISTENS_NOT, "model_id": "fake-model"}}
    with running_endpoint() as endpoint:
        url = f"{endpoint.url}/v1"
        assert asked(planned(tmp_path, url)) == []
        more: dict[str, Any] = {"steps": steps} if where == "replica" else {"auxiliary": judge}
        with pytest.raises(EndpointError, match=r"refused by 127\.0\.0\.1:9"):
            asked(planned(tmp_path, url, **more))


def test_a_replica_that_serves_another_model_is_refused(tmp_path: Path) -> None:
    with running_endpoint() as endpoint, running_endpoint(model="other-model") as other:
        steps = [{"name": "endpoint", "config": {"replicas": [f"{other.url}/v1"]}}]
        with pytest.raises(EndpointError, match="fake-model"):
            asked(planned(tmp_path, f"{endpoint.url}/v1", steps))


def test_an_endpoint_that_takes_only_altered_requests_is_left_to_the_harness_to_ask(tmp_path: Path) -> None:
    """As one that refuses max_tokens, which a payload_modifier renames."""
    rename = {
        "name": "payload_modifier",
        "config": {"params_to_rename": {"max_tokens": "max_completion_tokens"}},
    }
    faults = [{"match": {}, "action": "status", "status": 400}]
    with running_endpoint(faults=faults) as endpoint:
        url = f"{endpoint.url}/v1"
        with pytest.raises(EndpointError):
            asked(planned(tmp_path, url))
        assert asked(planned(tmp_path, url, [rename])) == []
    with pytest.raises(EndpointError, match="connection refused"):
        asked(planned(tmp_path, LISTENS_NOT, [rename]))


def test_tasks_that_are_complete_ask_nobody(tmp_path: Path) -> None:
    plan = planned(tmp_path, LISTENS_NOT)
    folder = tmp_path / plan.evaluations[0].folder
    folder.mkdir()
    (folder / "results.yml").write_text("status: complete\n", encoding="utf-8")
    assert asked(plan) == []


def test_a_variable_that_is_not_set_is_named_where_the_document_names_it(tmp_path: Path) -> None:
    judge = {"judge": {"url": LISTENS_NOT, "model_id": "j", "api_key_name": "NO_SUCH_KEY"}}
    plan = planned(tmp_path, LISTENS_NOT, auxiliary=judge)
    (error,) = unset_keys(plan, merge([Layer(tree=dict(plan.document))]), {})
    assert "target.auxiliary.judge.api_key_name" in (error.where or "")


def test_a_folder_for_shared_answers_need_not_be_there_and_one_of_interceptors_must(tmp_path: Path) -> None:
    shared, modules = tmp_path / "answers", tmp_path / "modules"
    target = {
        "url": LISTENS_NOT,
        "model_id": "fake-model",
        "type": "completions",
        "adapter_config": {
            "discovery": {"dirs": [str(modules)]},
            "interceptors": [{"name": "caching", "config": {"shared": str(shared)}}],
        },
    }
    tree = {"target": {"api_endpoint": target}, "evaluation": {"tasks": ["gsm8k_cot"]}}
    (error,) = missing_paths(plan_of(tree), merge([Layer(tree=tree)]))
    assert error.message == f"{modules} does not exist"
