"""POST /v1/chat/completions over a scripted engine."""

import json
from collections.abc import Callable
from typing import Any

import pytest

Ask = Callable[..., Any]
PATH = "/v1/chat/completions"
HI = [{"role": "user", "content": "hi"}]


def test_the_models_own_template_makes_the_prompt(ask: Ask, engine: Any) -> None:
    answer = ask("POST", PATH, {"model": "m", "messages": HI}).json
    assert bytes(engine.requests[0].prompt) == b"user: hi\nbot:"
    assert answer["choices"][0]["message"]["content"] == "hello"
    assert answer["usage"] == {"prompt_tokens": 13, "completion_tokens": 6, "total_tokens": 19}


def test_without_a_limit_the_answer_may_fill_the_context(ask: Ask, engine: Any) -> None:
    ask("POST", PATH, {"model": "m", "messages": HI})
    assert engine.requests[0].max_tokens == 64 - 13


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_both_names_of_the_limit_count(ask: Ask, name: str) -> None:
    choice = ask("POST", PATH, {"model": "m", "messages": HI, name: 2}).json["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("he", "length")


def test_text_parts_are_joined_and_other_parts_refused(ask: Ask, engine: Any) -> None:
    parts = [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]
    assert ask("POST", PATH, {"model": "m", "messages": [{"role": "user", "content": parts}]}).status == 200
    assert bytes(engine.requests[0].prompt) == b"user: hi\nbot:"
    image = [{"type": "image_url", "image_url": {"url": "data:"}}]
    assert ask("POST", PATH, {"model": "m", "messages": [{"role": "user", "content": image}]}).status == 400


def test_logprobs_of_the_content_have_bytes_and_alternatives(ask: Ask) -> None:
    body = {"model": "m", "messages": HI, "logprobs": True, "top_logprobs": 1}
    content = ask("POST", PATH, body).json["choices"][0]["logprobs"]["content"]
    assert [entry["token"] for entry in content] == list("hello")
    assert content[0] == {
        "token": "h",
        "logprob": -1.04,
        "bytes": [104],
        "top_logprobs": [{"token": "~", "logprob": -0.01, "bytes": [126]}],
    }


def test_stream_begins_with_the_role_and_ends_with_the_reason(ask: Ask) -> None:
    *chunks, done = ask("POST", PATH, {"model": "m", "messages": HI, "stream": True}).events
    choices = [json.loads(chunk)["choices"][0] for chunk in chunks]
    assert choices[0]["delta"]["role"] == "assistant"
    assert "".join(choice["delta"].get("content", "") for choice in choices) == "hello"
    assert (choices[-1]["finish_reason"], done) == ("stop", "[DONE]")


def test_model_without_a_template_refuses_chat(ask: Ask, engine: Any) -> None:
    engine.template = None
    reply = ask("POST", PATH, {"model": "m", "messages": HI})
    assert reply.status == 400
    assert "/v1/completions" in reply.json["error"]["message"]


def test_template_that_raises_is_a_400_with_its_sentence(ask: Ask, engine: Any) -> None:
    engine.template = "{{ raise_exception('roles must alternate') }}"
    assert (
        "roles must alternate" in ask("POST", PATH, {"model": "m", "messages": HI}).json["error"]["message"]
    )


def test_template_cannot_reach_python(ask: Ask, engine: Any) -> None:
    engine.template = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    assert ask("POST", PATH, {"model": "m", "messages": HI}).status == 400


@pytest.mark.parametrize(
    "change",
    [
        {"messages": []},
        {"messages": [{"content": "x"}]},
        {"messages": [{"role": "user"}]},
        {"tools": [{"type": "function"}]},
        {"response_format": {"type": "json_object"}},
        {"top_logprobs": 2},
    ],
)
def test_what_cannot_be_done_is_a_400(ask: Ask, change: dict[str, object]) -> None:
    assert ask("POST", PATH, {"model": "m", "messages": HI, **change}).status == 400
