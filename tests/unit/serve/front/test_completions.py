"""POST /v1/completions over a scripted engine."""

import json
from collections.abc import Callable
from typing import Any

import pytest

Ask = Callable[..., Any]
PATH = "/v1/completions"


def test_text_and_token_ids_give_the_same_scores(ask: Ask) -> None:
    common = {"model": "m", "echo": True, "logprobs": 1, "max_tokens": 1}
    text = ask("POST", PATH, {**common, "prompt": "ab"}).json["choices"][0]
    ids = ask("POST", PATH, {**common, "prompt": [97, 98]}).json["choices"][0]
    assert text == ids
    assert text["text"] == "abh"


def test_echo_lists_are_equally_long_and_begin_with_null(ask: Ask) -> None:
    body = {"model": "m", "prompt": "ab", "echo": True, "logprobs": 1, "max_tokens": 1}
    logprobs = ask("POST", PATH, body).json["choices"][0]["logprobs"]
    assert logprobs == {
        "tokens": ["a", "b", "h"],
        "token_logprobs": [None, -0.98, -1.04],
        "top_logprobs": [None, {"~": -0.01, "b": -0.98}, {"~": -0.01, "h": -1.04}],
        "text_offset": [0, 1, 2],
    }


def test_the_end_token_stands_in_the_logprobs_and_not_in_the_text(ask: Ask) -> None:
    choice = ask("POST", PATH, {"model": "m", "prompt": "a", "logprobs": 0}).json["choices"][0]
    assert choice["text"] == "hello"
    assert choice["logprobs"]["tokens"][-1] == "<end>"
    assert choice["finish_reason"] == "stop"


def test_no_tokens_are_generated_for_max_tokens_0_with_echo(ask: Ask) -> None:
    answer = ask(
        "POST", PATH, {"model": "m", "prompt": "ab", "echo": True, "logprobs": 1, "max_tokens": 0}
    ).json
    assert answer["choices"][0]["text"] == "ab"
    assert len(answer["choices"][0]["logprobs"]["tokens"]) == 2
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 0, "total_tokens": 2}


def test_prompts_times_n_answers_in_order_with_real_usage(ask: Ask, engine: Any) -> None:
    answer = ask("POST", PATH, {"model": "m", "prompt": ["a", "bc"], "n": 2, "max_tokens": 3, "seed": 5}).json
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 12, "total_tokens": 15}
    assert [request.sampling.seed for request in engine.requests] == [5, 6, 5, 6]


def test_list_of_token_lists(ask: Ask, engine: Any) -> None:
    ask("POST", PATH, {"model": "m", "prompt": [[97], [98, 99]]})
    assert [request.prompt for request in engine.requests] == [(97,), (98, 99)]


def test_stop_string_ends_the_answer_and_cancels_the_rest(ask: Ask, engine: Any) -> None:
    choice = ask("POST", PATH, {"model": "m", "prompt": "a", "stop": "lo"}).json["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("hel", "stop")
    assert engine.cancelled == 1


def test_length_is_the_reason_when_max_tokens_cut_the_answer(ask: Ask) -> None:
    choice = ask("POST", PATH, {"model": "m", "prompt": "a", "max_tokens": 2}).json["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("he", "length")


def test_prompt_is_scored_only_when_echo_asks_for_it(ask: Ask, engine: Any) -> None:
    ask("POST", PATH, {"model": "m", "prompt": "a", "logprobs": 1})
    ask("POST", PATH, {"model": "m", "prompt": "a", "echo": True})
    assert [request.prompt_top for request in engine.requests] == [None, None]


@pytest.mark.parametrize("prompt_length", [64, 100])
def test_prompt_that_does_not_fit_is_refused_and_never_cut(ask: Ask, engine: Any, prompt_length: int) -> None:
    reply = ask("POST", PATH, {"model": "m", "prompt": "a" * prompt_length, "max_tokens": 1})
    assert reply.status == 400
    assert reply.json["error"]["code"] == "context_length_exceeded"
    assert "64 tokens" in reply.json["error"]["message"]
    assert engine.requests == []


def test_stream_frames_end_with_usage_and_done(ask: Ask) -> None:
    body = {"model": "m", "prompt": "a", "stream": True, "stream_options": {"include_usage": True}}
    reply = ask("POST", PATH, body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    *chunks, used, done = reply.events
    assert done == "[DONE]"
    assert json.loads(used)["usage"]["completion_tokens"] == 6
    choices = [json.loads(chunk)["choices"][0] for chunk in chunks]
    assert "".join(choice["text"] for choice in choices) == "hello"
    assert [choice["finish_reason"] for choice in choices][-1] == "stop"


def test_streamed_echo_with_logprobs_is_the_unstreamed_one_in_parts(ask: Ask) -> None:
    body = {"model": "m", "prompt": "ab", "echo": True, "logprobs": 1}
    whole = ask("POST", PATH, body).json["choices"][0]
    parts = [
        json.loads(event)["choices"][0] for event in ask("POST", PATH, {**body, "stream": True}).events[:-1]
    ]
    assert "".join(part["text"] for part in parts) == whole["text"]
    for key, value in whole["logprobs"].items():
        assert [item for part in parts if part["logprobs"] for item in part["logprobs"][key]] == value


def test_engine_death_is_a_500_with_the_reason(ask: Ask, engine: Any) -> None:
    engine.dies_after = 1
    reply = ask("POST", PATH, {"model": "m", "prompt": ["a", "b"]})
    assert reply.status == 500
    assert "it broke" in reply.json["error"]["message"]


def test_engine_death_in_a_stream_is_its_last_event(ask: Ask, engine: Any) -> None:
    engine.dies_after = 2
    events = ask("POST", PATH, {"model": "m", "prompt": "a", "stream": True}).events
    assert json.loads(events[-1])["error"]["code"] == "engine_dead"


def test_client_that_leaves_cancels_its_sequence(ask: Ask, engine: Any) -> None:
    engine.hangs = True
    reply = ask("POST", PATH, {"model": "m", "prompt": "a"}, leave_after_s=0.02)
    assert reply.status == 0
    assert engine.cancelled == 1


def test_full_queue_is_429_with_a_time_to_wait(ask: Ask, engine: Any) -> None:
    engine.waiting = 8
    reply = ask("POST", PATH, {"model": "m", "prompt": "a"})
    assert reply.status == 429
    assert int(reply.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": [257]}, "prompt"),
        ({"prompt": [["a"]]}, "prompt"),
        ({"prompt": ["a"] * 9}, "prompt"),
        ({"model": None}, "model"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"logprobs": 21}, "logprobs"),
        ({"n": 0}, "n"),
        ({"stop": 3}, "stop"),
        ({"stop": [3]}, "stop"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"best_of": 2}, "best_of"),
        ({"temprature": 0}, "temprature"),
    ],
)
def test_bad_field_is_a_400_that_names_it(
    ask: Ask, engine: Any, change: dict[str, object], param: str
) -> None:
    reply = ask("POST", PATH, {"model": "m", "prompt": "a", **change})
    assert reply.status == 400
    assert reply.json["error"]["param"] == param
    assert reply.json["error"]["type"] == "invalid_request_error"
    assert engine.requests == []


def test_neutral_values_of_unsupported_fields_are_accepted(ask: Ask) -> None:
    extra = {
        "frequency_penalty": 0.0,
        "logit_bias": {},
        "best_of": 1,
        "suffix": None,
        "user": "u",
        "top_k": -1,
    }
    assert ask("POST", PATH, {"model": "m", "prompt": "a", **extra}).status == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"nonsense"])
def test_body_that_is_no_json_object_is_a_400(ask: Ask, body: bytes) -> None:
    assert ask("POST", PATH, body).status == 400


def test_unknown_model_is_a_404(ask: Ask) -> None:
    reply = ask("POST", PATH, {"model": "other", "prompt": "a"})
    assert (reply.status, reply.json["error"]["code"]) == (404, "model_not_found")
