"""Errors that a harness could score as wrong answers, and answers of another model: none may pass unseen."""

import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.kit.adapters import TASK, RunningAdapter, chat, running_adapter, settings_for

from evaldock.testkit.fake_endpoint import RunningEndpoint
from evaldock_entrypoints.adapter.client import MAX_BODY_BYTES, Client
from evaldock_entrypoints.contract.adapter import AdapterSettings
from evaldock_entrypoints.contract.target import Interceptor
from evaldock_entrypoints.run_eval.adapter import handed_over

pytestmark = pytest.mark.slow  # starts processes, or waits

GUARD = """
from evaldock_entrypoints.adapter.body import Body
from evaldock_entrypoints.adapter.call import Answer
from evaldock_entrypoints.adapter.interceptor import Interceptor
from evaldock_entrypoints.exchanges.facts import Facts


class Guard(Interceptor):
    def on_request(self, call):
        facts = Facts(started_at=0.0, latency_ms=0.0, is_generation=False)
        return Answer(status=503, body=Body(b'{"error": {}}'), headers={}, facts=facts)
"""


def test_a_refusal_by_an_interceptor_of_ones_own_is_a_failure_and_no_limit(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "guard.py").write_text(GUARD)
    settings = settings_for(
        tmp_path,
        [endpoint.url],
        interceptors=[{"name": "guard:Guard"}],
        task={"modules": [str(tmp_path / "modules")]},
    )
    with running_adapter(settings) as adapter:
        assert adapter.post(chat()).status_code == 503
        adapter.stop()
    assert [failure.error for failure in adapter.traffic().outstanding] == ["chain"]


def test_a_request_too_large_to_be_read_is_a_failure(adapter: RunningAdapter) -> None:
    assert adapter.post(b" " * (MAX_BODY_BYTES + 1)).status_code == 413
    adapter.stop()
    assert [failure.error for failure in adapter.traffic().outstanding] == ["chain"]


def test_a_model_that_the_task_does_not_have_is_a_failure(adapter: RunningAdapter) -> None:
    with handed_over(adapter.control()) as listener:
        url = f"http://127.0.0.1:{listener.port}/aux/judge/v1/chat/completions"
        assert requests.post(url, json=chat(), timeout=10).status_code == 404
        listener.settle()
    [failure] = adapter.traffic().outstanding
    assert "judge" in (failure.message or "")


def test_answers_of_another_judge_are_not_taken_out_of_the_shared_folder(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    for number, asked in enumerate((1, 2)):
        with running_adapter(_judged_by(tmp_path, endpoint, number)) as adapter:
            url = f"{adapter.address}/t/{TASK}/aux/judge/v1/chat/completions"
            assert requests.post(url, json=chat(), timeout=10).status_code == 200
            adapter.stop()
        assert endpoint.stats()["requests"] == asked


@pytest.mark.parametrize(
    ("config", "runs", "asked"),
    [
        ({"shared": "shared"}, ("one", "other"), {"judge": 1, "target": 2}),
        ({"reuse": False}, ("one", "one"), {"judge": 2, "target": 1}),
        ({}, ("one", "one"), {"judge": 1, "target": 1}),
    ],
)
def test_a_judge_has_a_cache_of_its_own_making(
    tmp_path: Path,
    endpoint: RunningEndpoint,
    config: dict[str, Any],
    runs: Sequence[str],
    asked: dict[str, int],
) -> None:
    if "shared" in config:
        config = {"shared": str(tmp_path / "shared")}
    chain = [Interceptor(name="caching", config=config)]
    for run in runs:
        settings = settings_for(tmp_path / run, [endpoint.url])
        with running_adapter(_with_judge(settings, {"interceptors": chain})) as adapter:
            for path, text in (("", "target"), ("/aux/judge", "judge")):
                url = f"{adapter.address}/t/{TASK}{path}/v1/chat/completions"
                assert requests.post(url, json=chat(text), timeout=10).status_code == 200
            adapter.stop()
    bodies = [request["body"] for request in endpoint.last_requests()]
    assert {who: sum(f'"{who}"' in body for body in bodies) for who in asked} == asked


def _judged_by(folder: Path, endpoint: RunningEndpoint, number: int) -> AdapterSettings:
    """Return a run of its own, with a judge of its own; answers are shared."""
    shared = {"name": "caching", "config": {"shared": str(folder / "shared")}}
    settings = settings_for(folder / str(number), [endpoint.url], interceptors=[shared])
    return _with_judge(settings, {"identity": f"judge {number}", "interceptors": []})


def _with_judge(settings: AdapterSettings, judge: dict[str, Any]) -> AdapterSettings:
    task = settings.tasks[TASK]
    judged = task.model_copy(update={"auxiliary": {"judge": task.target.model_copy(update=judge)}})
    return settings.model_copy(update={"tasks": {TASK: judged}})


class _Open:
    """A transport that still takes its connection for open."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> socket.socket:
        assert name == "socket"
        return self._connection


def test_a_client_that_reset_its_connection_is_gone_though_the_loop_has_not_noticed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    with ours:
        client = Client({"extensions": {"evaldock.transport": _Open(ours)}}, None, None)
        assert not client.is_gone()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        time.sleep(0.05)
        assert client.is_gone()
