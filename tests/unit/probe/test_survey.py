"""What a survey finds, against real HTTP servers that misbehave."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

import pytest
from tests.kit.probes import KEY, KEY_NAME, probe_of
from tests.kit.raw_server import (
    Behave,
    always,
    by_path,
    dribble_body,
    dribble_header,
    flood,
    hang,
    no_http,
    raw_server,
)

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock.testkit.fake_endpoint.logprobs import LogprobsBug
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.framework import EndpointType
from evaldock_entrypoints.probe.findings import Finding, Survey
from evaldock_entrypoints.probe.survey import survey

ALL = ("chat", "completions", "completions_logprob", "embedding")
HANG = {"action": "hang"}


def surveyed(
    url: str,
    wanted: EndpointType | None = None,
    *,
    model: str = "fake-model",
    key: str | None = None,
    limit_s: float = 5.0,
) -> Survey:
    return survey(probe_of(url, wanted or "chat", model=model, key=key), wanted, limit_s=limit_s)


class Faulty(Protocol):
    """Surveys an endpoint with one fault."""

    def __call__(
        self, fault: Mapping[str, object], wanted: EndpointType | None = None, *, limit_s: float = 5.0
    ) -> Survey: ...


@pytest.fixture
def faulty(endpoint: RunningEndpoint) -> Iterator[Faulty]:
    def ask(
        fault: Mapping[str, object], wanted: EndpointType | None = None, *, limit_s: float = 5.0
    ) -> Survey:
        endpoint.reset(faults=[fault])
        return surveyed(endpoint.url, wanted, limit_s=limit_s)

    yield ask
    endpoint.reset(faults=[])


def raw(behave: Behave, wanted: EndpointType | None = None, *, limit_s: float = 5.0) -> Survey:
    with raw_server(behave) as url:
        return surveyed(url, wanted, limit_s=limit_s)


def finding(found: Survey, what: str) -> Finding:
    (one,) = [one for one in found.findings if one.what == what]
    return one


def test_a_healthy_endpoint_can_be_used_as_every_type(endpoint: RunningEndpoint) -> None:
    found = surveyed(endpoint.url)
    assert found.usable_types == ALL
    assert found.error() is None
    assert {one.status for one in found.findings} == {"ok"}
    assert [one.what for one in found.findings] == ["reachable", "key", "model", *ALL, "tokenizer", "usage"]
    assert "32768 tokens" in finding(found, "model").found


def test_a_healthy_endpoint_is_asked_nine_times() -> None:
    with running_endpoint() as fresh:
        assert surveyed(fresh.url).error() is None
        assert fresh.stats()["requests"] == 9


def test_with_a_type_only_that_type_is_asked(endpoint: RunningEndpoint) -> None:
    found = surveyed(endpoint.url, "chat")
    assert found.usable_types == ("chat",)
    assert [one.what for one in found.findings] == ["reachable", "key", "model", "chat", "usage"]


# --- reachable


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:9/v1", "connection refused by 127.0.0.1:9"),
        ("http://no-such-host.invalid/v1", "no address is known for the host no-such-host.invalid"),
    ],
)
def test_an_address_where_nothing_answers_is_the_only_finding(url: str, words: str) -> None:
    found = surveyed(url)
    assert [one.what for one in found.findings] == ["reachable"]
    assert words in found.findings[0].found
    assert found.usable_types == ()


@pytest.mark.parametrize(
    ("behave", "words"),
    [
        (no_http, "does not speak HTTP"),
        (lambda connection, _: connection.recv(1), "closed without an answer"),
        (hang, "within"),
    ],
)
def test_what_is_no_answer_is_told_apart(behave: Behave, words: str) -> None:
    found = raw(behave, limit_s=0.6)
    assert [one.what for one in found.findings] == ["reachable"]
    assert words in found.findings[0].found


def test_tls_where_the_server_speaks_none_is_named(endpoint: RunningEndpoint) -> None:
    found = surveyed(endpoint.url.replace("http:", "https:"))
    assert "TLS" in found.findings[0].found
    assert "http://" in (found.findings[0].next_step or "")


# --- bounds


@pytest.mark.parametrize("behave", [hang, dribble_header, dribble_body, flood])
@pytest.mark.parametrize("wanted", [None, "chat"])
def test_no_server_makes_the_check_last_longer_than_its_time(
    behave: Behave, wanted: EndpointType | None
) -> None:
    begun = time.monotonic()
    found = raw(behave, wanted, limit_s=1.0)
    assert time.monotonic() - begun < 2.0
    assert found.error() is not None


def test_a_listing_that_hangs_keeps_no_route_from_being_asked(faulty: Faulty) -> None:
    found = faulty({"match": {"route": "models"}, **HANG}, limit_s=2.0)
    assert found.usable_types == ALL
    assert finding(found, "model").status == "note"


def test_a_route_that_hangs_keeps_no_other_from_being_asked(faulty: Faulty) -> None:
    found = faulty({"match": {"route": "embeddings"}, **HANG}, limit_s=1.0)
    assert found.usable_types == ALL[:3]
    assert "does not answer within" in finding(found, "embedding").found
    assert found.error() is None


def test_a_limit_on_requests_at_once_is_waited_out(faulty: Faulty) -> None:
    found = faulty({"action": "status", "status": 429, "times": 2})
    assert found.usable_types == ALL


# --- key


def test_a_key_that_is_needed_and_right(keyed: RunningEndpoint) -> None:
    found = surveyed(keyed.url, key=KEY)
    assert finding(found, "key").found == f"refuses without a key (401), accepts with {KEY_NAME}"
    assert found.error() is None


def test_a_key_that_is_not_needed_is_noted(endpoint: RunningEndpoint) -> None:
    found = surveyed(endpoint.url, key=KEY)
    assert finding(found, "key").status == "note"
    assert "answers without a key too" in finding(found, "key").found
    assert found.error() is None


def test_a_wrong_key_is_one_finding_and_names_the_variable(keyed: RunningEndpoint) -> None:
    found = surveyed(keyed.url, key="wrong-key")
    assert [one.what for one in found.failed] == ["key"]
    assert KEY_NAME in (finding(found, "key").next_step or "")
    assert "wrong-key" not in found.as_text()
    assert found.usable_types == ()


def test_a_missing_key_is_told_apart_from_a_wrong_one(keyed: RunningEndpoint) -> None:
    found = surveyed(keyed.url)
    assert "wants a key" in finding(found, "key").found


def test_a_key_that_may_not_list_the_models_may_still_be_right() -> None:
    chat = always(200, {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]})
    found = raw(
        by_path({"/models": always(403, {"error": "scope"}), "/chat/completions": chat}, always(404, {}))
    )
    assert found.usable_types == ("chat",)
    assert finding(found, "model").status == "note"
    assert found.error() is None


# --- model


def test_a_model_that_is_not_served_is_one_finding_with_the_known_ones(endpoint: RunningEndpoint) -> None:
    found = surveyed(endpoint.url, model="other")
    assert [one.what for one in found.failed] == ["model"]
    assert "fake-model" in (finding(found, "model").next_step or "")


def test_a_model_that_answers_and_is_not_listed_is_an_error() -> None:
    with raw_server(chat_server(listed=["a", "b"], answered="m")) as url:
        found = surveyed(url, "chat", model="m")
    assert [one.what for one in found.failed] == ["model"]
    assert "it lists a, b" in (finding(found, "model").next_step or "")


def test_another_model_that_answers_is_named_beside_the_one_asked_for(faulty: Faulty) -> None:
    found = faulty({"action": "forged_model"})
    assert "another-model" in finding(found, "model").found
    assert "fake-model" in finding(found, "model").found
    assert found.usable_types == ()


def test_another_name_of_a_listed_model_is_said() -> None:
    with raw_server(chat_server(listed=["gpt-4"], answered="gpt-4-0613")) as url:
        found = surveyed(url, "chat", model="gpt-4")
    assert "answers name it gpt-4-0613" in finding(found, "model").found
    assert found.error() is None


def test_the_only_listed_model_is_taken_where_none_is_named(endpoint: RunningEndpoint) -> None:
    found = surveyed(endpoint.url, model="")
    assert found.model_id == "fake-model"
    assert "none was named" in finding(found, "model").found
    assert found.usable_types == ALL


@pytest.mark.parametrize(("listed", "words"), [(["a", "b"], "lists 2 models"), ([], "lists none")])
def test_a_model_must_be_named_where_it_cannot_be_guessed(listed: list[str], words: str) -> None:
    with raw_server(chat_server(listed=listed, answered="a")) as url, pytest.raises(UsageError, match=words):
        surveyed(url, model="")


def test_no_listing_is_a_note(faulty: Faulty) -> None:
    found = faulty({"match": {"route": "models"}, "action": "status", "status": 404})
    assert finding(found, "model").status == "note"
    assert found.usable_types == ALL


def test_a_listing_of_hundreds_is_shown_by_what_is_near() -> None:
    names = [f"vendor{n}/thing-{n}" for n in range(500)] + ["meta/llama-3.1-8b"]
    with raw_server(chat_server(listed=names, answered="x")) as url:
        step = finding(surveyed(url, "chat", model="lama-3.1-8b"), "model").next_step or ""
    assert "meta/llama-3.1-8b" in step
    assert len(step) < 400


# --- routes


@pytest.mark.parametrize(
    ("bug", "words"), [("shifted", "shifted"), ("constant", "constant"), ("missing", "no log-probabilities")]
)
def test_lying_log_probabilities_fail_their_type_and_no_other(bug: LogprobsBug, words: str) -> None:
    with running_endpoint(logprobs_bug=bug) as lying:
        every, one = surveyed(lying.url), surveyed(lying.url, "completions_logprob")
        chat = surveyed(lying.url, "chat")
    assert words in finding(every, "completions_logprob").found
    assert every.usable_types == ("chat", "completions", "embedding")
    assert every.error() is None
    assert [failed.what for failed in one.failed] == ["completions_logprob"]
    assert chat.error() is None


def test_a_missing_route_fails_only_whoever_needs_it(faulty: Faulty) -> None:
    fault = {"match": {"route": "chat"}, "action": "status", "status": 404}
    every = faulty(fault)
    assert (every.usable_types, every.error()) == (ALL[1:], None)
    assert [failed.what for failed in faulty(fault, "chat").failed] == ["chat"]


def test_an_endpoint_of_no_use_fails_with_every_route(faulty: Faulty) -> None:
    found = faulty({"action": "html"})
    assert [failed.what for failed in found.failed] == list(ALL)
    error = found.error()
    assert error is not None
    assert (error.exit_code, "502" in error.message) == (3, True)


def test_an_empty_text_is_noted(faulty: Faulty) -> None:
    found = faulty({"match": {"route": "chat"}, "action": "null_content"})
    assert finding(found, "chat").status == "note"
    assert "empty text" in finding(found, "chat").found
    assert "chat" in found.usable_types


def test_answers_without_usage_and_reason_are_noted(faulty: Faulty) -> None:
    assert "count no tokens" in finding(faulty({"action": "no_usage"}), "usage").found
    with raw_server(chat_server(listed=["m"], answered="m", reason=None)) as url:
        assert finding(surveyed(url, "chat", model="m"), "finish_reason").status == "note"


def test_a_missing_tokenizer_is_a_note_with_the_way_out(faulty: Faulty) -> None:
    found = faulty({"match": {"route": "tokenizer_info"}, "action": "status", "status": 404})
    assert finding(found, "tokenizer").found == "no answer of /tokenizer_info"
    assert "params.extra.tokenizer" in (finding(found, "tokenizer").next_step or "")
    assert found.error() is None


# --- what is shown


@pytest.mark.parametrize(
    "action", ["control_chars", "html", "huge", "invalid_json", "truncate", "empty_body"]
)
def test_nothing_of_a_servers_answer_moves_the_cursor(action: str, faulty: Faulty) -> None:
    text = faulty({"action": action}).as_text()
    assert all(line.isprintable() for line in text.split("\n"))


def test_a_hostile_model_id_is_neither_taken_nor_shown() -> None:
    with raw_server(chat_server(listed=["\x1b[2Jm"], answered="\x1b[2Jm", reason="\x1b[2J")) as url:
        with pytest.raises(UsageError):
            surveyed(url, model="")
        text = surveyed(url, "chat", model="m").as_text()
    assert "\x1b" not in text


def test_the_tree_says_the_same_as_the_table(endpoint: RunningEndpoint) -> None:
    found = surveyed(endpoint.url, model="other")
    tree = found.as_tree()
    assert tree["ok"] is False
    assert [one["found"] for one in tree["findings"]] == [one.found for one in found.findings]
    assert replace(found, findings=()).as_tree()["ok"] is True


def chat_server(*, listed: list[str], answered: str, reason: str | None = "stop") -> Behave:
    """A server that knows a listing and chat, and answers whatever the model is called."""
    answer: dict[str, Any] = {
        "model": answered,
        "choices": [{"message": {"content": "yes"}, "finish_reason": reason}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
    listing = always(200, {"data": [{"id": name} for name in listed]})
    return by_path({"/models": listing, "/chat/completions": always(200, answer)}, always(404, {}))
