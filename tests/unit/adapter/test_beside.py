"""Routes beside /v1: failures are in the proof, answers are kept, a task that ended asks nothing more."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.kit.adapters import TASK, RunningAdapter, chat, running_adapter, settings_for
from tests.kit.raw_server import always, by_path, raw_server

from evaldock.testkit.fake_endpoint import RunningEndpoint

pytestmark = pytest.mark.slow  # starts processes, or waits

SCORES = always(200, {"score": 0.5})


def beside(adapter: RunningAdapter, route: str, body: Any, **more: Any) -> requests.Response:
    return requests.post(f"{adapter.address}/t/{TASK}{route}", json=body, timeout=10, **more)


def test_a_request_that_fails_beside_v1_is_in_the_proof(
    adapter: RunningAdapter, endpoint: RunningEndpoint
) -> None:
    assert beside(adapter, "/score", {"text": "a"}).status_code == 404  # which a harness may swallow
    adapter.stop()
    [failure] = adapter.traffic().outstanding
    assert (failure.route, failure.status, failure.error) == ("/score", 404, "status")
    assert endpoint.stats()["requests"] == 1


def test_a_tokenizer_that_fails_is_in_the_proof_until_the_same_text_is_answered(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    rule = {"match": {"route": "tokenize", "first_n": 1}, "action": "status", "status": 400}
    endpoint.reset(faults=[rule])
    texts = ({"prompt": "a b c"}, {"prompt": "another"})
    with running_adapter(settings_for(tmp_path, [endpoint.url])) as adapter:
        answers = [beside(adapter, "/tokenize", {"model": "fake-model", **text}) for text in (*texts, *texts)]
        adapter.post(chat())
        adapter.stop()
    assert [answer.status_code for answer in answers] == [400, 400, 200, 200]
    assert adapter.traffic().outstanding == []
    assert adapter.traffic().target.requests == 1  # that of the task: looking up is in no figure
    assert adapter.traffic().lost == 0


def test_a_tokenizer_that_fails_and_is_not_asked_again_is_in_the_proof(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    endpoint.reset(faults=[{"match": {"route": "tokenize"}, "action": "status", "status": 400}])
    with running_adapter(settings_for(tmp_path, [endpoint.url])) as adapter:
        assert beside(adapter, "/tokenize", {"model": "fake-model", "prompt": "a"}).status_code == 400
        adapter.stop()
    assert [failure.route for failure in adapter.traffic().outstanding] == ["/tokenize"]


def test_an_answer_beside_v1_is_kept_and_is_not_that_of_the_route_below_it(tmp_path: Path) -> None:
    routes = by_path({"/v1/score": always(200, {"score": 1.0}), "/score": SCORES}, always(404, {}))
    body = {"text": "a"}
    with raw_server(routes) as url, running_adapter(settings_for(tmp_path, [url])) as adapter:
        assert beside(adapter, "/score", body).json() == {"score": 0.5}
        assert adapter.post(body, "/score").json() == {"score": 1.0}
        adapter.stop()
    with running_adapter(settings_for(tmp_path, ["http://127.0.0.1:9"])) as resumed:
        assert beside(resumed, "/score", body).json() == {"score": 0.5}
        assert resumed.post(body, "/score").json() == {"score": 1.0}
        resumed.stop()
    assert resumed.traffic().target.cached == 2


def test_a_stream_beside_v1_passes_as_it_is_whatever_the_chain_does(tmp_path: Path) -> None:
    events = b"".join(b"data: " + json.dumps({"content": word}).encode() + b"\n\n" for word in ("a", "b"))
    native = always(200, events, "Content-Type: text/event-stream")
    chain = [{"name": "reasoning"}]
    with (
        raw_server(native) as url,
        running_adapter(settings_for(tmp_path, [url], interceptors=chain)) as adapter,
    ):
        answer = beside(adapter, "/completion", {"prompt": "a", "stream": True})
        assert answer.content == events
        adapter.stop()
    assert adapter.traffic().target.requests == 1


@pytest.mark.parametrize(
    ("method", "route"),
    [("POST", "/score"), ("POST", "/tokenize"), ("GET", "/version"), ("GET", "/v1/models")],
)
def test_a_task_that_was_stopped_asks_nothing_more(tmp_path: Path, method: str, route: str) -> None:
    asked: list[str] = []

    def noted(connection: Any, ended: Any) -> None:
        asked.append(route)
        SCORES(connection, ended)

    routes = by_path({"/chat/completions": always(401, {"error": "no"})}, noted)
    with raw_server(routes) as url, running_adapter(settings_for(tmp_path, [url])) as adapter:
        assert adapter.post(chat()).status_code == 401
        after = requests.request(method, f"{adapter.address}/t/{TASK}{route}", json={"a": 1}, timeout=10)
    assert (after.status_code, after.json()["error"]["code"]) == (503, "task_stopped")
    assert asked == []
