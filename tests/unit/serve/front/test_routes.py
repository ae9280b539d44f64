"""Routes besides the completions."""

from collections.abc import Callable
from typing import Any

import pytest

Ask = Callable[..., Any]


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("path", ["/v1/models", "/health", "/health/ready", "/metrics", "/tokenizer_info"])
def test_get_routes_answer_with_and_without_slash(ask: Ask, path: str, slash: str) -> None:
    assert ask("GET", path + slash).status == 200


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"model": "m", "prompt": "a"}),
        ("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "a"}]}),
        ("/tokenize", {"prompt": "a"}),
        ("/detokenize", {"tokens": [97]}),
    ],
)
def test_post_routes_answer_with_and_without_slash(ask: Ask, path: str, slash: str, body: object) -> None:
    assert ask("POST", path + slash, body).status == 200


def test_unknown_path_and_wrong_method_have_error_bodies(ask: Ask) -> None:
    missing, wrong = ask("GET", "/v2"), ask("GET", "/v1/completions")
    assert (missing.status, wrong.status) == (404, 405)
    assert wrong.headers["allow"] == "POST"
    assert "message" in missing.json["error"]


def test_models_names_the_one_model(ask: Ask) -> None:
    assert ask("GET", "/v1/models").json["data"][0]["id"] == "m"
    assert ask("GET", "/v1/models/m").json["max_model_len"] == 64
    assert ask("GET", "/v1/models/x").status == 404


def test_not_ready_is_503_while_alive(ask: Ask, engine: Any) -> None:
    engine.ready = False
    assert ask("GET", "/health/ready").status == 503
    assert ask("GET", "/health").status == 200


def test_tokenize_and_back(ask: Ask) -> None:
    answer = ask("POST", "/tokenize", {"prompt": "a€", "add_special_tokens": False}).json
    assert answer == {"count": 4, "max_model_len": 64, "tokens": [97, 226, 130, 172], "token_strs": None}
    assert ask("POST", "/detokenize", {"tokens": answer["tokens"]}).json == {"prompt": "a€"}


def test_tokenize_takes_a_conversation(ask: Ask) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "return_token_strs": True}
    assert "".join(ask("POST", "/tokenize", body).json["token_strs"]) == "user: hi\nbot:"


def test_detokenize_refuses_what_is_no_token(ask: Ask) -> None:
    assert ask("POST", "/detokenize", {"tokens": [257]}).status == 400
    assert ask("POST", "/detokenize", {"tokens": "a"}).status == 400


def test_tokenizer_info_has_what_lm_eval_looks_for(ask: Ask) -> None:
    info = ask("GET", "/tokenizer_info").json
    assert info["eos_token"] == "<end>"
    assert info["bos_token"] is None
    assert "messages" in info["chat_template"]


def test_metrics_count_requests_tokens_and_the_queue(ask: Ask, engine: Any) -> None:
    engine.waiting = 3
    ask("POST", "/v1/completions", {"model": "m", "prompt": "abc"})
    ask("POST", "/v1/completions", {"model": "x", "prompt": "abc"})
    lines = ask("GET", "/metrics").body.decode().splitlines()
    assert 'evaldock_requests_total{route="/v1/completions",status="200"} 1' in lines
    assert 'evaldock_requests_total{route="/v1/completions",status="404"} 1' in lines
    assert "evaldock_prompt_tokens_total 3" in lines
    assert "evaldock_completion_tokens_total 6" in lines
    assert "evaldock_sequences_waiting 3" in lines
