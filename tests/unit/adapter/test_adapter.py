"""The whole adapter as a process, before the fake endpoint."""

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from tests.kit.adapters import TASK, RunningAdapter, chat, running_adapter, settings_for, streamed

from evaldock.testkit.fake_endpoint import RunningEndpoint
from evaldock_entrypoints.run_eval.adapter import handed_over

pytestmark = pytest.mark.slow  # starts processes, or waits

QUESTION = "What is 7 + 7?"


def asked(endpoint: RunningEndpoint) -> int:
    return endpoint.stats()["requests"]


def test_an_answer_comes_back_as_the_endpoint_gave_it(
    adapter: RunningAdapter, endpoint: RunningEndpoint
) -> None:
    direct = requests.post(f"{endpoint.url}/v1/chat/completions", json=chat(QUESTION), timeout=10)
    through = adapter.post(chat(QUESTION))
    assert through.status_code == 200
    assert re.fullmatch(r"[0-9a-f]{32}:0", through.headers["x-evaldock-key"])
    ours, theirs = through.json(), direct.json()
    for tree in (ours, theirs):
        del tree["id"], tree["created"]
    assert ours == theirs


def test_a_body_that_nobody_changed_reaches_the_endpoint_byte_by_byte(
    adapter: RunningAdapter, endpoint: RunningEndpoint
) -> None:
    messages = b'[{"role":"user","content":"\\u00e9"}]'
    raw = b'{"temperature": 1e-07, "model":"fake-model",\n "messages": ' + messages + b', "x": 1.0}'
    assert adapter.post(raw).status_code == 200
    assert endpoint.last_requests()[-1]["body"].encode() == raw


@pytest.mark.parametrize("route", ["/chat/completions", "/chat/completions/"])
def test_a_trailing_slash_means_the_same_request(
    adapter: RunningAdapter, endpoint: RunningEndpoint, route: str
) -> None:
    assert adapter.post(chat(QUESTION), route).status_code == 200
    assert endpoint.stats()["routes"] == {"chat": 1}


def test_models_and_unknown_routes_pass_through(adapter: RunningAdapter, endpoint: RunningEndpoint) -> None:
    models = requests.get(f"{adapter.base_url()}/models", timeout=10)
    assert models.json() == requests.get(f"{endpoint.url}/v1/models", timeout=10).json()
    beside = requests.post(
        f"{adapter.address}/t/{TASK}/tokenize", json={"model": "fake-model", "prompt": "a b"}, timeout=10
    )
    assert beside.json()["count"] == 2
    assert requests.get(f"{adapter.base_url()}/nothing/here", timeout=10).status_code == 404


def test_an_address_that_means_no_task_says_which_there_are(adapter: RunningAdapter) -> None:
    refused = requests.post(f"{adapter.address}/t/other.task/v1/chat/completions", json=chat(), timeout=10)
    assert refused.status_code == 404
    assert TASK in refused.json()["error"]["message"]


def test_the_same_request_n_times_is_n_answers(adapter: RunningAdapter, endpoint: RunningEndpoint) -> None:
    body = chat("no item of the table", temperature=0.8)
    with ThreadPoolExecutor(8) as pool:
        texts = list(
            pool.map(lambda _: adapter.post(body).json()["choices"][0]["message"]["content"], range(8))
        )
    assert asked(endpoint) == 8
    assert len(set(texts)) == 8


def test_a_second_session_asks_nothing_again_and_gives_the_same_answers_in_the_same_order(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    settings = settings_for(tmp_path, [endpoint.url])
    bodies = [chat("sampled", temperature=0.8)] * 3 + [chat(QUESTION)]
    with running_adapter(settings) as first:
        before = [first.post(body).content for body in bodies]
        assert first.stop() == 0
    assert asked(endpoint) == 4
    with running_adapter(settings) as second:
        again = [second.post(body).content for body in bodies]
        assert second.status()["tasks"][TASK]["requests"] <= 4
        assert second.stop() == 0
    assert again == before
    assert asked(endpoint) == 4
    traffic = second.traffic()
    assert (traffic.target.requests, traffic.target.cached) == (4, 4)


@pytest.mark.slow
def test_a_kill_loses_no_answer_older_than_a_second(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    settings = settings_for(tmp_path, [endpoint.url])
    with running_adapter(settings) as first:
        for number in range(20):
            first.post(chat(f"What is {number} + {number}?"))
        time.sleep(1.3)
        first.process.kill()
    with running_adapter(settings) as second:
        for number in range(20):
            second.post(chat(f"What is {number} + {number}?"))
    assert asked(endpoint) == 20


@pytest.mark.slow
def test_a_harness_that_timed_out_gets_the_answer_it_missed_and_nothing_shifts(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    body = chat("sampled", temperature=0.8)
    endpoint.reset(faults=[{"match": {"nth": 1}, "action": "latency", "latency_ms": 600}])
    with running_adapter(settings_for(tmp_path, [endpoint.url])) as adapter:
        with pytest.raises(requests.exceptions.ReadTimeout):
            adapter.post(body, timeout=0.2)
        texts = [adapter.post(body).json()["choices"][0]["message"]["content"] for _ in range(3)]
        adapter.stop()
    assert asked(endpoint) == 3
    assert len(set(texts)) == 3
    assert adapter.traffic().target.requests == 3


def test_an_error_stays_an_error_and_is_counted(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"match": {"body_contains": "7 + 7"}, "action": "status", "status": 422}])
    with running_adapter(settings_for(tmp_path, [endpoint.url])) as adapter:
        failed = adapter.post(chat(QUESTION))
        assert adapter.post(chat("What is 1 + 1?")).status_code == 200
        adapter.stop()
    assert failed.status_code == 422
    assert failed.headers["x-should-retry"] == "false"
    assert "choices" not in failed.json()
    assert asked(endpoint) == 2
    [outstanding] = adapter.traffic().outstanding
    assert (outstanding.status, outstanding.error) == (422, "status")


def test_a_failure_that_the_harness_made_good_is_none(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"match": {"first_n": 1}, "action": "status", "status": 500}])
    with running_adapter(settings_for(tmp_path, [endpoint.url], served={"max_retries": 0})) as adapter:
        assert adapter.post(chat(QUESTION)).status_code == 500
        assert adapter.post(chat(QUESTION)).status_code == 200
        adapter.stop()
    assert adapter.traffic().outstanding == []


def test_401_stops_everything_and_names_the_variable(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "status", "status": 401}])
    settings = settings_for(tmp_path, [endpoint.url], key_name="TOY_KEY")
    with running_adapter(settings, {"TOY_KEY": "sk-canary-0123456789"}) as adapter:
        assert adapter.post(chat(QUESTION)).status_code == 401
        assert adapter.post(chat("What is 1 + 1?")).status_code == 503
        deadline = time.monotonic() + 3
        while adapter.status()["fatal"] is None and time.monotonic() < deadline:
            time.sleep(0.05)
        fatal = adapter.status()["fatal"]
    assert fatal["exit_code"] == 3
    assert "TOY_KEY" in fatal["next"]
    assert asked(endpoint) == 1


@pytest.mark.slow
def test_a_stream_passes_and_comes_again_from_the_store(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    settings = settings_for(tmp_path, [endpoint.url])
    body = chat(QUESTION, stream=True)
    with running_adapter(settings) as first:
        fresh = first.post(body)
        first.stop()
    with running_adapter(settings) as second:
        stored = second.post(body)
    assert streamed(fresh)[-1] == "[DONE]"
    assert stored.content == fresh.content
    assert asked(endpoint) == 1


def test_a_stream_that_is_cut_is_an_error_and_no_short_answer(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    endpoint.reset(faults=[{"action": "sse_cut"}])
    with running_adapter(settings_for(tmp_path, [endpoint.url], served={"max_retries": 0})) as adapter:
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            adapter.post(chat(QUESTION, stream=True))
        adapter.stop()
    [outstanding] = adapter.traffic().outstanding
    assert outstanding.error == "cut"


def test_an_endpoint_asked_for_streams_answers_whole(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    with running_adapter(settings_for(tmp_path, [endpoint.url], served={"stream": True})) as adapter:
        answer = adapter.post(chat(QUESTION)).json()
        adapter.stop()
    assert json.loads(endpoint.last_requests()[-1]["body"])["stream"] is True
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] > 0
    assert len(adapter.traffic().target.ttfts_ms) == 1


@pytest.mark.slow
def test_the_key_is_the_adapters_and_no_credential_of_the_harness_passes(tmp_path: Path) -> None:
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings = settings_for(
            tmp_path, [url], key_name="TOY_KEY", served={"request_timeout_s": 1.0, "max_retries": 0}
        )
        with (
            running_adapter(settings, {"TOY_KEY": "sk-canary-0123456789"}) as adapter,
            ThreadPoolExecutor(1) as pool,
        ):
            asking = pool.submit(
                adapter.post,
                chat(QUESTION),
                headers={"Authorization": "Bearer harness", "api-key": "k", "X-Own": "1"},
            )
            connection, _ = listener.accept()
            with connection:
                received.append(connection.recv(65536))
            asking.result()
    head = received[0].partition(b"\r\n\r\n")[0].lower()
    assert b"authorization: bearer sk-canary-0123456789" in head
    assert b"harness" not in head
    assert b"api-key" not in head
    assert b"x-own: 1" in head


def test_a_listening_socket_that_is_handed_over_is_answered_and_closed_with_its_giver(
    adapter: RunningAdapter,
) -> None:
    with handed_over(adapter.control()) as listener:
        for path in ("/v1", f"/t/{TASK}/v1"):
            answer = requests.post(
                f"http://127.0.0.1:{listener.port}{path}/chat/completions", json=chat(QUESTION), timeout=10
            )
            assert answer.status_code == 200
        other = requests.post(f"http://127.0.0.1:{listener.port}/t/other/v1/completions", json={}, timeout=10)
        assert other.status_code == 404
    time.sleep(0.2)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", listener.port))


def test_what_was_answered_is_on_disk_once_the_task_is_settled(adapter: RunningAdapter) -> None:
    with handed_over(adapter.control()) as listener:
        url = f"http://127.0.0.1:{listener.port}/v1/chat/completions"
        assert requests.post(url, json=chat(QUESTION), timeout=10).status_code == 200
        listener.settle()
    assert adapter.traffic().target.requests == 1  # while the adapter runs on


def test_whose_harness_it_is_says_the_socket_and_not_the_harness(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    settings = settings_for(tmp_path, [endpoint.url], tasks=["toy.a", "toy.b"])
    with running_adapter(settings) as adapter, lying(adapter.control("toy.a"), "toy.b") as port:
        own, others = (f"http://127.0.0.1:{port}{path}/v1/chat/completions" for path in ("", "/t/toy.b"))
        assert requests.post(own, json=chat(QUESTION), timeout=10).status_code == 200
        refused = requests.post(others, json=chat(QUESTION), timeout=10)
        assert (refused.status_code, "toy.a" in refused.text) == (404, True)
        adapter.stop()
    assert adapter.traffic("toy.a").target.requests == 1
    assert list(adapter.exchanges("toy.b").iterdir()) == []


@contextlib.contextmanager
def lying(control: Path, task: str) -> Iterator[int]:
    """Hand a listening socket over where another task's harness does, for this task; yields its port."""
    with (
        contextlib.chdir(control.parent),  # the whole path may be too long
        socket.socket(socket.AF_UNIX) as visitor,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        visitor.connect(control.name)
        socket.send_fds(visitor, [json.dumps({"task": task}).encode()], [listener.fileno()])
        assert json.loads(visitor.recv(4096))["ok"] is True
        yield listener.getsockname()[1]


def test_a_socket_that_does_not_listen_for_tcp_is_refused(adapter: RunningAdapter) -> None:
    with (
        contextlib.chdir(adapter.control().parent),  # the whole path may be too long
        socket.socket(socket.AF_UNIX) as named,
        socket.socket() as deaf,
        socket.socket(socket.AF_UNIX) as control,
    ):
        named.bind("named")
        named.listen()
        control.connect(adapter.control().name)
        for refused in (named, deaf):
            socket.send_fds(control, [b"\n"], [refused.fileno()])
            assert json.loads(control.recv(4096))["ok"] is False
    assert adapter.post(chat(QUESTION)).status_code == 200


@pytest.mark.slow
def test_a_folder_of_any_length_takes_the_socket(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    deep = tmp_path / ("d" * 120)
    with (
        running_adapter(settings_for(deep, [endpoint.url])) as adapter,
        handed_over(adapter.control()) as listener,
    ):
        assert requests.get(f"http://127.0.0.1:{listener.port}/health", timeout=10).status_code == 200


@pytest.mark.slow
def test_many_connections_with_few_descriptors_are_all_answered(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    settings = settings_for(tmp_path, [endpoint.url])
    bodies = [chat(f"What is {number % 20} + {number % 20}?", user=str(number)) for number in range(200)]
    with (
        running_adapter(settings, prefix=["prlimit", "--nofile=64:64"]) as adapter,
        ThreadPoolExecutor(100) as pool,
    ):
        codes = list(pool.map(lambda body: adapter.post(body).status_code, bodies))
    assert codes == [200] * 200


@pytest.mark.slow
def test_nothing_is_asked_in_a_replay(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    with running_adapter(settings_for(tmp_path, [endpoint.url])) as first:
        kept = first.post(chat(QUESTION)).content
        first.stop()
    with running_adapter(settings_for(tmp_path, ["http://127.0.0.1:9"], replay=True)) as second:
        assert second.post(chat(QUESTION)).content == kept
        missed = second.post(chat("What is 1 + 1?"))
        assert missed.status_code == 502
        assert missed.json()["error"]["code"] == "not_in_store"
        second.stop()
    assert len(second.traffic().outstanding) == 1


def test_facts_are_those_of_the_answer(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    with running_adapter(settings_for(tmp_path, [endpoint.url])) as adapter:
        whole = adapter.post(chat(QUESTION)).json()
        short = adapter.post(chat("unknown", max_tokens=2)).json()
        scored = {"model": "fake-model", "prompt": "a b c", "max_tokens": 1, "echo": True, "logprobs": 1}
        adapter.post(scored, "/completions")
        adapter.stop()
    traffic = adapter.traffic().target
    assert short["choices"][0]["finish_reason"] == "length"
    assert (traffic.requests, traffic.generations, traffic.truncated) == (3, 2, 1)
    tokens = [tree["usage"]["completion_tokens"] for tree in (whole, short)]
    assert traffic.completion_tokens is not None
    assert traffic.completion_tokens >= sum(tokens)
    assert json.dumps(traffic.served_models) == '{"fake-model": 3}'


@pytest.mark.slow
def test_a_tokenizer_is_asked_once_for_each_text_even_in_a_later_session(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    settings = settings_for(tmp_path, [endpoint.url])
    body = {"model": "fake-model", "prompt": "a b c"}
    answers = []
    for _ in range(2):
        with running_adapter(settings) as adapter:
            url = f"{adapter.address}/t/{TASK}/tokenize"
            answers += [requests.post(url, json=body, timeout=10).json() for _ in range(2)]
            adapter.stop()
    assert answers == [answers[0]] * 4
    assert endpoint.stats()["routes"] == {"tokenize": 1}


@pytest.mark.slow
def test_a_harness_that_came_and_asked_nothing_is_told_from_the_one_before_it(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    settings = settings_for(tmp_path, [endpoint.url])
    with running_adapter(settings) as first:
        with handed_over(first.control()):
            first.post(chat(QUESTION))
        first.stop()
    assert first.traffic().target.requests == 1
    with running_adapter(settings) as second:
        with handed_over(second.control()):
            pass
        second.stop()
    assert second.traffic().target.requests == 0
