import socket
import threading
import time
from pathlib import Path

import pytest
from tests.kit.probes import KEY, KEY_NAME, probe_of
from tests.kit.raw_server import Behave, always, by_path, dribble_body, dribble_header, flood, raw_server

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock.testkit.fake_endpoint.logprobs import LogprobsBug
from evaldock_entrypoints.contract.errors import EndpointError, UsageError
from evaldock_entrypoints.contract.framework import EndpointType
from evaldock_entrypoints.contract.secrets import key_value
from evaldock_entrypoints.probe import NotReadyError, check, wait_until_ready

TYPES: tuple[EndpointType, ...] = ("chat", "completions", "completions_logprob", "embedding")


@pytest.mark.parametrize("endpoint_type", TYPES)
def test_a_truthful_endpoint_passes(keyed: RunningEndpoint, endpoint_type: EndpointType) -> None:
    check(probe_of(keyed.url, endpoint_type, key=KEY))


@pytest.mark.parametrize(("endpoint_type", "requests"), list(zip(TYPES, (1, 1, 3, 1), strict=True)))
def test_readiness_asks_no_more_than_it_must(endpoint_type: EndpointType, requests: int) -> None:
    with running_endpoint() as fresh:
        check(probe_of(fresh.url, endpoint_type))
        assert fresh.stats()["requests"] == requests


def test_a_wrong_key_is_named_by_its_variable_and_never_shown(keyed: RunningEndpoint) -> None:
    with pytest.raises(EndpointError, match="refuses the key") as caught:
        check(probe_of(keyed.url, "chat", key="wrong-key"))
    assert not isinstance(caught.value, NotReadyError)
    assert KEY_NAME in (caught.value.next_step or "")
    assert "wrong-key" not in caught.value.render()


def test_a_missing_key_is_told_apart_from_a_wrong_one(keyed: RunningEndpoint) -> None:
    with pytest.raises(EndpointError, match="wants a key") as caught:
        check(probe_of(keyed.url, "chat"))
    assert "--api_key_name" in (caught.value.next_step or "")


def test_a_server_that_repeats_the_key_does_not_bring_it_into_a_message() -> None:
    said = {"error": {"message": f"Incorrect API key provided: {KEY}."}}
    with raw_server(always(401, said)) as url, pytest.raises(EndpointError) as caught:
        check(probe_of(url, "chat", key=KEY))
    assert KEY not in caught.value.render()
    assert "Incorrect API key provided" in caught.value.render()


def test_control_characters_of_a_server_do_not_reach_a_message() -> None:
    with (
        raw_server(always(400, b"\x1b[2J\x1b]0;title\x07 no")) as url,
        pytest.raises(EndpointError) as caught,
    ):
        check(probe_of(url, "chat"))
    assert caught.value.message.isprintable()


def test_an_unknown_model_is_final_and_the_known_ones_are_shown(endpoint: RunningEndpoint) -> None:
    with pytest.raises(EndpointError, match='does not serve the model "fake-modle"') as caught:
        check(probe_of(endpoint.url, "chat", model="fake-modle"))
    assert not isinstance(caught.value, NotReadyError)
    assert 'did you mean "fake-model"?' in (caught.value.next_step or "")


def test_a_route_that_is_missing_is_told_apart_from_a_model_that_is() -> None:
    with running_endpoint(faults=[{"action": "status", "status": 404}]) as without:
        with pytest.raises(EndpointError, match="no such route") as caught:
            check(probe_of(without.url, "chat"))
        assert "/v1/chat/completions answered 404" in (caught.value.where or "")


def test_another_model_that_answers_is_refused_with_both_ids() -> None:
    with (
        running_endpoint(faults=[{"action": "forged_model"}]) as other,
        pytest.raises(EndpointError, match='"another-model", and "fake-model" was asked for') as caught,
    ):
        check(probe_of(other.url, "chat"))
    assert not isinstance(caught.value, NotReadyError)


CHAT = {"choices": [{"message": {"content": "yes"}}], "model": "gpt-4-0613"}


@pytest.mark.parametrize(
    "listed", [["gpt-4", "gpt-4-0613"], ["openai/gpt-4"], []], ids=["listed", "with its owner", "no listing"]
)
def test_another_name_in_an_answer_passes_unless_the_listing_speaks_against_it(listed: list[str]) -> None:
    listing = always(200, {"data": [{"id": name} for name in listed]})
    with raw_server(by_path({"/models": listing}, always(200, CHAT))) as url:
        check(probe_of(url, "chat", model="gpt-4"))


@pytest.mark.parametrize(
    ("bug", "finding"),
    [("shifted", "wrong|shifted"), ("constant", "constant"), ("missing", "no log-probabilities")],
)
def test_log_probabilities_that_lie_are_found(bug: LogprobsBug, finding: str) -> None:
    with running_endpoint(logprobs_bug=bug) as lying, pytest.raises(EndpointError, match=finding):
        check(probe_of(lying.url))


def logprobs_answer(**changes: object) -> object:
    logprobs = {
        "tokens": ["The capital of France is", " Paris", "."],
        "token_logprobs": [None, -1.0, -1.0],
        "text_offset": [0, 24, 40],
    }
    return {"choices": [{"text": "x", "logprobs": logprobs | changes}]}


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"text_offset": None}, "text_offset"),
        ({"text_offset": [0, "a", None]}, "text_offset"),
        ({"token_logprobs": [None, -1.0]}, "do not match"),
        ({"token_logprobs": [None, None, -1.0]}, "are missing"),
        ({"token_logprobs": [None, float("nan"), -1.0]}, "are missing"),
        ({"token_logprobs": [-3.0, -1.0, -1.0]}, "first prompt token"),
        ({"text_offset": [0, 90, 96]}, "are missing"),
        ({"tokens": "abc"}, "no log-probabilities"),
        ({}, "constant"),
    ],
)
def test_log_probabilities_in_a_wrong_shape_are_a_finding(changes: dict[str, object], finding: str) -> None:
    with (
        raw_server(always(200, logprobs_answer(**changes))) as url,
        pytest.raises(EndpointError, match=finding),
    ):
        check(probe_of(url))


@pytest.mark.parametrize(
    "body",
    [
        *({}, [], {"choices": None}, {"choices": []}, {"choices": ["text"]}, {"choices": {}}),
        *({"data": [{"embedding": []}]}, {"data": [{"embedding": [None]}]}, {"data": "no"}),
        *(b"", b"<html>", b"\xff\xfe", b"[" * 100_000),
    ],
    ids=lambda body: repr(body)[:24],
)
@pytest.mark.parametrize("endpoint_type", TYPES)
def test_an_answer_of_any_shape_ends_in_a_finding(endpoint_type: EndpointType, body: object) -> None:
    with raw_server(always(200, body)) as url, pytest.raises(EndpointError):
        check(probe_of(url, endpoint_type))


@pytest.mark.parametrize("behave", [dribble_header, dribble_body], ids=["header", "body"])
def test_a_server_that_answers_byte_by_byte_is_given_up_in_time(behave: Behave) -> None:
    with raw_server(behave) as url:
        begun = time.monotonic()
        with pytest.raises(NotReadyError, match=r"within 0\.3 s"):
            check(probe_of(url, "chat", timeout_s=0.3))
        assert time.monotonic() - begun < 1.0


def test_an_answer_without_end_is_given_up_for_its_size() -> None:
    with raw_server(flood) as url, pytest.raises(EndpointError, match="larger than 8 MiB"):
        check(probe_of(url, "chat"))


def test_a_redirect_is_named_and_not_followed(endpoint: RunningEndpoint) -> None:
    elsewhere = f"Location: {endpoint.url}/v1/chat/completions"
    with raw_server(always(308, b"", elsewhere)) as url, pytest.raises(EndpointError) as caught:
        check(probe_of(url, "chat", key=KEY))
    assert endpoint.url in caught.value.message


def test_no_key_is_taken_from_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password canary\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    heard: list[bytes] = []

    def listen(connection: socket.socket, ended: threading.Event) -> None:  # noqa: ARG001 - one signature
        heard.append(connection.recv(65536))

    with raw_server(listen) as url, pytest.raises(NotReadyError):
        check(probe_of(url, "chat", timeout_s=2))
    assert heard
    assert b"Authorization" not in heard[0]


def test_an_endpoint_that_comes_up_late_is_waited_for() -> None:
    fault = {"match": {"first_n": 3}, "action": "status", "status": 503}
    with running_endpoint(faults=[fault]) as late:
        wait_until_ready(probe_of(late.url, "chat"), 10)


def test_an_endpoint_that_is_not_there_is_refused_at_once_or_after_the_wait() -> None:
    with pytest.raises(NotReadyError, match="does not answer"):
        wait_until_ready(probe_of("http://127.0.0.1:9/v1"), 0.3)


def test_a_key_variable_that_is_unset_is_a_usage_error() -> None:
    assert key_value(None, {}) is None
    assert key_value("A", {"A": "x"}) == "x"
    with pytest.raises(UsageError, match="A is not set"):
        key_value("A", {})
