"""Each fault as a client really sees it, and which requests a rule hits."""

import http.client
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from evaldock.testkit.fake_endpoint import FakeEndpointError, RunningEndpoint, running_endpoint
from evaldock.testkit.fake_endpoint.faults import Asked, FaultPlan, Match, Rule, read_rules

PROMPT = "What is 1 plus 1?"


def ask(endpoint: RunningEndpoint, prompt: str = PROMPT, **fields: object) -> requests.Response:
    body = {"model": "fake-model", "messages": [{"role": "user", "content": prompt}], **fields}
    return requests.post(endpoint.url + "/v1/chat/completions", json=body, timeout=10)


def said(response: requests.Response) -> Any:
    return response.json()["choices"][0]["message"]["content"]


def raw_request(endpoint: RunningEndpoint) -> socket.socket:
    """A plain socket with one chat request sent."""
    assert endpoint.port is not None
    body = json.dumps({"model": "fake-model", "messages": [{"role": "user", "content": PROMPT}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    client = socket.create_connection(("127.0.0.1", endpoint.port), timeout=5)
    client.sendall(head.encode() + body)
    return client


def read_to_end(client: socket.socket, received: bytearray | None = None) -> bytes:
    """All bytes until the server closes, also left in `received`. Raises ConnectionResetError on RST."""
    received = bytearray() if received is None else received
    while part := client.recv(65536):
        received += part
    return bytes(received)


def content_length(received: bytes) -> tuple[int, int]:
    """The announced and the received length of a body."""
    head, _, body = received.partition(b"\r\n\r\n")
    announced = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return int(announced.split(b":")[1]), len(body)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429, 500, 502, 503, 504])
def test_status_comes_with_an_error_body(endpoint: RunningEndpoint, status: int) -> None:
    endpoint.reset(faults=[{"action": "status", "status": status}])
    response = ask(endpoint)
    assert response.status_code == status
    assert response.json()["error"]["code"] == str(status)
    assert endpoint.stats()["statuses"] == {str(status): 1}
    assert endpoint.stats()["answers"]["generate"] == {"right": 0, "wrong": 0}


def test_retry_after_in_each_form(endpoint: RunningEndpoint) -> None:
    headers = {}
    for form in ("seconds", "date", "ms", "none", "garbage"):
        rule = {"action": "status", "status": 429, "retry_after": form, "retry_after_s": 2}
        endpoint.reset(faults=[rule])
        headers[form] = ask(endpoint).headers
    assert headers["seconds"]["retry-after"] == "2"
    assert 1 <= parsedate_to_datetime(headers["date"]["retry-after"]).timestamp() - time() <= 3
    assert headers["ms"]["retry-after-ms"] == "2000"
    assert "retry-after" not in headers["none"]
    with pytest.raises(ValueError, match="invalid literal"):
        int(headers["garbage"]["retry-after"])


def test_hang_never_answers_and_is_let_go_when_the_client_leaves(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "hang"}])
    with raw_request(endpoint) as client:
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert endpoint.stats()["in_flight"] == 1
    deadline = monotonic() + 2
    while endpoint.stats()["in_flight"] and monotonic() < deadline:
        sleep(0.01)
    assert endpoint.stats()["in_flight"] == 0
    assert endpoint.stats()["statuses"] == {}


def test_reset_is_a_real_rst(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "reset"}])
    with raw_request(endpoint) as client, pytest.raises(ConnectionResetError):
        read_to_end(client)


def test_reset_at_half_comes_after_half_of_the_body(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "reset", "at": "half"}])
    received = bytearray()
    with raw_request(endpoint) as client, pytest.raises(ConnectionResetError):
        read_to_end(client, received)
    announced, got = content_length(bytes(received))
    assert got == announced // 2


def test_truncated_body_ends_cleanly_but_short(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "truncate"}])
    with raw_request(endpoint) as client:
        announced, got = content_length(read_to_end(client))
    assert got == announced // 2
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        ask(endpoint)


def test_slow_bytes_dribble_one_at_a_time(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "slow_bytes", "interval_ms": 40}])
    with raw_request(endpoint) as client:
        received = b""
        while b"\r\n\r\n{" not in received:
            received += client.recv(65536)
        start = monotonic()
        sizes = [len(client.recv(65536)) for _ in range(4)]
        elapsed_s = monotonic() - start
    assert sizes == [1, 1, 1, 1]
    assert elapsed_s > 0.1


def test_slow_bytes_end_with_the_whole_answer(endpoint: RunningEndpoint) -> None:
    whole = ask(endpoint).content
    endpoint.reset(faults=[{"action": "slow_bytes", "interval_ms": 0.05}])
    assert ask(endpoint).content == whole


def test_bodies_that_are_no_answer(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "invalid_json"}])
    with pytest.raises(requests.JSONDecodeError):
        ask(endpoint).json()
    endpoint.reset(faults=[{"action": "empty_body"}])
    assert (ask(endpoint).status_code, ask(endpoint).content) == (200, b"")
    endpoint.reset(faults=[{"action": "html", "status": 200}])
    page = ask(endpoint)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.text.startswith("<!DOCTYPE html>")
    endpoint.reset(faults=[{"action": "wrong_content_type"}])
    typed = ask(endpoint)
    assert typed.headers["content-type"].startswith("text/plain")
    assert said(typed)


def test_null_content_and_missing_usage(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "null_content"}])
    assert said(ask(endpoint)) is None
    endpoint.reset(faults=[{"action": "no_usage"}])
    body = ask(endpoint).json()
    assert "usage" not in body
    assert endpoint.stats()["items"]["gen-001"]["answered"] == 1


def test_cut_stream_has_no_end_marker(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "sse_cut"}])
    cut = ask(endpoint, stream=True)
    assert cut.status_code == 200
    assert cut.text.startswith("data: {")
    assert "[DONE]" not in cut.text
    assert '"finish_reason":"stop"' not in cut.text
    assert said(ask(endpoint))


def test_huge_answer_has_the_size_asked_for(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "huge", "size_bytes": 3_000_000}])
    assert len(said(ask(endpoint))) >= 3_000_000
    streamed = ask(endpoint, stream=True)
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert streamed.text.count("data: ") < 2100


def test_control_characters_come_before_the_answer(endpoint: RunningEndpoint) -> None:
    normal = said(ask(endpoint))
    endpoint.reset(faults=[{"action": "control_chars"}])
    hostile = said(ask(endpoint))
    assert hostile.endswith(normal)
    assert all(piece in hostile for piece in ("\x1b[31m", "\x00", "</script>", "=HYPERLINK", "\u202e", "\r"))


def test_forged_model_shows_in_models_and_in_answers(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "forged_model", "model": "someone-else"}])
    models = requests.get(endpoint.url + "/v1/models", timeout=10).json()
    assert [model["id"] for model in models["data"]] == ["someone-else"]
    assert ask(endpoint).json()["model"] == "someone-else"


def test_reordered_and_duplicate_choices(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "reordered"}])
    assert [choice["index"] for choice in ask(endpoint, n=3).json()["choices"]] == [2, 1, 0]
    endpoint.reset(faults=[{"action": "duplicate"}])
    assert [choice["index"] for choice in ask(endpoint, n=2).json()["choices"]] == [0, 0, 1, 1]


def test_latency_is_added_to_another_fault(endpoint: RunningEndpoint) -> None:
    rules = [{"action": "latency", "latency_ms": 120}, {"action": "status", "status": 503}]
    endpoint.reset(faults=rules)
    start = monotonic()
    assert ask(endpoint).status_code == 503
    assert monotonic() - start >= 0.12
    assert endpoint.stats()["faults"] == {"latency": 1, "status": 1}


def test_first_n_hits_each_body_that_often(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"match": {"first_n": 2}, "action": "status", "status": 500}])
    got = [ask(endpoint, f"What is {i} plus {i}?").status_code for _ in range(3) for i in (1, 2)]
    assert got == [500, 500, 500, 500, 200, 200]
    assert endpoint.stats()["items"]["gen-001"]["asked"] == 3
    assert endpoint.stats()["items"]["gen-001"]["answered"] == 1


def test_item_route_and_body_conditions(endpoint: RunningEndpoint) -> None:
    endpoint.reset(
        faults=[
            {"match": {"item": "gen-002"}, "action": "status", "status": 500},
            {"match": {"body_contains": "3 plus 3"}, "action": "status", "status": 502},
            {"match": {"route": "tokenize", "nth": 2}, "action": "status", "status": 503},
        ]
    )
    assert [ask(endpoint, f"What is {i} plus {i}?").status_code for i in (1, 2, 3)] == [200, 500, 502]
    body = {"prompt": "x"}
    got = [requests.post(endpoint.url + "/tokenize", json=body, timeout=10).status_code for _ in range(3)]
    assert got == [200, 503, 200]


def test_keep_alive_connection_survives_an_injected_status(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"match": {"nth": 1}, "action": "status", "status": 500}])
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=5)
    body = json.dumps({"model": "fake-model", "prompt": "x"})
    got = []
    for _ in range(2):
        connection.request("POST", "/v1/completions", body)
        response = connection.getresponse()
        response.read()
        got.append(response.status)
    connection.close()
    assert got == [500, 200]


def asked(number: int, ordinal: int = 1) -> Asked:
    return Asked(route="chat", body=b"x", body_hash=number, ordinal=ordinal, items=frozenset(), stream=False)


def hits(seed: int, order: list[int], share: float = 0.2) -> set[int]:
    plan = FaultPlan([Rule(match=Match(share=share), action="status")], seed=seed)
    return {number for number in order if plan.pick(asked(number))[1] is not None}


@settings(deadline=None)
@given(st.permutations(list(range(50))), st.integers(0, 9))
def test_share_hits_the_same_bodies_in_any_order(order: list[int], seed: int) -> None:
    assert hits(seed, order) == hits(seed, sorted(order))


def test_share_is_about_right_and_drawn_anew_for_each_ordinal() -> None:
    numbers = list(range(2000))
    assert 340 <= len(hits(1, numbers)) <= 460
    assert hits(1, numbers) != hits(2, numbers)
    plan = FaultPlan([Rule(match=Match(share=0.5), action="status")], seed=1)
    assert {plan.pick(asked(7, ordinal))[1] is None for ordinal in range(1, 20)} == {True, False}


def test_times_bounds_how_often_a_rule_fires() -> None:
    plan = FaultPlan([Rule(action="status", times=3)], seed=1)
    assert sum(plan.pick(asked(number))[1] is not None for number in range(10)) == 3


def test_rules_are_read_from_yaml_and_inline_json(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text("faults:\n- {match: {share: 0.2}, action: status, status: 429, retry_after: ms}\n")
    inline = '[{"match": {"share": 0.2}, "action": "status", "status": 429, "retry_after": "ms"}]'
    assert read_rules(str(path)) == read_rules(inline)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('[{"action": "explode"}]', "--faults: rule 0.action"),
        ('[{"action": "hang", "matches": {}}]', "--faults: rule 0.matches"),
        ("no-such-file.yaml", "cannot read fault rules from no-such-file.yaml"),
        ("[", "cannot read fault rules from --faults"),
    ],
)
def test_bad_rules_are_refused_with_their_place(source: str, message: str) -> None:
    with pytest.raises(FakeEndpointError, match=message.replace(".", r"\.")):
        read_rules(source)


def test_bad_rules_over_http_are_refused(endpoint: RunningEndpoint) -> None:
    with pytest.raises(FakeEndpointError, match="rule 0"):
        endpoint.reset(faults=[{"action": "explode"}])


def test_error_event_stands_in_the_middle_of_a_stream(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "sse_error"}])
    assert said(ask(endpoint))  # no fault of what is not streamed
    *events, last = ask(endpoint, stream=True).text.strip().split("\n\n")
    assert last == "data: [DONE]"
    assert "error" in json.loads(events[-1].removeprefix("data: "))
    assert all("choices" in json.loads(event.removeprefix("data: ")) for event in events[:-1])


def test_error_may_come_as_an_answer(endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "error_answer"}])
    response = ask(endpoint)
    assert response.status_code == 200
    assert set(response.json()) == {"error"}


def test_rule_may_hit_only_what_is_too_much_at_a_time(endpoint: RunningEndpoint) -> None:
    rule = {"action": "status", "status": 429, "match": {"in_flight_above": 2}}
    endpoint.reset(faults=[{"action": "latency", "latency_ms": 200}, rule])
    with ThreadPoolExecutor(4) as pool:
        statuses = [response.status_code for response in pool.map(lambda _: ask(endpoint), range(4))]
    assert sorted(statuses) == [200, 200, 429, 429]


def test_slots_bound_what_is_answered_at_a_time() -> None:
    with running_endpoint(slots=2, latency_ms=100) as endpoint, ThreadPoolExecutor(6) as pool:
        began = monotonic()
        assert all(response.ok for response in pool.map(lambda _: ask(endpoint), range(6)))
        assert 0.3 <= monotonic() - began < 0.6
        assert endpoint.stats()["max_concurrency"] == 6
