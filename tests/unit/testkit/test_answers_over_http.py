"""The endpoint as clients see it: routes, errors, streaming, statistics."""

import base64
import json
import os
import random
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import requests

from evaldock.testkit.fake_endpoint import FakeEndpointError, RunningEndpoint, running_endpoint

PROMPTS = [f"What is {i} plus {i}?" for i in range(20)]
KEY_NAME = "FAKE_ENDPOINT_TEST_KEY"


def post(endpoint: RunningEndpoint, path: str, body: object, **headers: str) -> requests.Response:
    return requests.post(endpoint.url + path, json=body, headers=headers, timeout=10)


def chat(endpoint: RunningEndpoint, prompt: str, **fields: object) -> Any:
    body = {"model": "fake-model", "messages": [{"role": "user", "content": prompt}], **fields}
    response = post(endpoint, "/v1/chat/completions", body)
    assert response.status_code == 200, response.text
    return response.json()


def content(endpoint: RunningEndpoint, prompt: str, **fields: object) -> str:
    said: str = chat(endpoint, prompt, **fields)["choices"][0]["message"]["content"]
    return said


def complete(endpoint: RunningEndpoint, prompt: object, **fields: object) -> Any:
    response = post(endpoint, "/v1/completions", {"model": "fake-model", "prompt": prompt, **fields})
    assert response.status_code == 200, response.text
    return response.json()


def events(response: requests.Response) -> list[Any]:
    """Parsed server-sent events; checks the framing and the end marker."""
    assert response.headers["content-type"].startswith("text/event-stream")
    parts = response.text.split("\n\n")
    assert parts[-2:] == ["data: [DONE]", ""]
    assert all(part.startswith("data: {") and "\n" not in part for part in parts[:-2])
    return [json.loads(part.removeprefix("data: ")) for part in parts[:-2]]


def stream(endpoint: RunningEndpoint, path: str, **fields: object) -> list[Any]:
    return events(post(endpoint, path, {"model": "fake-model", "stream": True, **fields}))


def test_share_of_right_answers_is_exact(endpoint: RunningEndpoint) -> None:
    said = [content(endpoint, prompt) for prompt in PROMPTS]
    right = sum(text.endswith(f"#### {2 * i}") for i, text in enumerate(said))
    stats = endpoint.stats()
    assert right == 15
    assert stats["answers"]["generate"] == {"right": 15, "wrong": 5}
    assert (stats["requests"], stats["unmatched"], stats["statuses"]) == (20, 0, {"200": 20})
    assert sum(item["right_share"] or 0 for item in stats["items"].values()) == 15


def test_answers_do_not_depend_on_order_or_concurrency(endpoint: RunningEndpoint) -> None:
    prompts = [*PROMPTS, "something unheard of", "Question: entry 3?\nAnswer:"]
    in_order = {prompt: chat(endpoint, prompt) for prompt in prompts}
    shuffled = random.Random(5).sample(prompts, len(prompts))
    with ThreadPoolExecutor(8) as pool:
        again = dict(zip(shuffled, pool.map(lambda prompt: chat(endpoint, prompt), shuffled), strict=True))
    assert again == in_order
    assert endpoint.stats()["items"]["gen-000"]["asked"] == 2


def test_last_message_with_a_match_decides(endpoint: RunningEndpoint) -> None:
    shots = [{"role": "user", "content": PROMPTS[1]}, {"role": "assistant", "content": "2"}]
    parts = [{"type": "text", "text": PROMPTS[2]}]
    messages = [*shots, {"role": "user", "content": parts}, {"role": "user", "content": "Be brief."}]
    body = {"model": "fake-model", "messages": messages}
    post(endpoint, "/v1/chat/completions", body)
    assert list(endpoint.stats()["items"]) == ["gen-002"]


def scored(endpoint: RunningEndpoint, number: int, *, as_ids: bool) -> tuple[int, int]:
    """Arg-maxes lm-eval would compute for acc and acc_norm, in its own way of slicing."""
    context = f"Question: entry {number}?\nAnswer:"
    long = f"entry {number} " + "is a very long way round," * 20
    choices = ["yes", "not yes", long, "żółw 🐢", "7"]
    prompts: Sequence[object] = [f"{context} {choice}" for choice in choices]
    length = len(tokens(endpoint, context))
    if as_ids:
        prompts = [tokens(endpoint, f"{context} {choice}") for choice in choices]
    body = complete(endpoint, prompts, echo=True, logprobs=1, max_tokens=1)
    sums = [sum(choice["logprobs"]["token_logprobs"][length:-1]) for choice in body["choices"]]
    norms = [total / len(choice) for total, choice in zip(sums, choices, strict=True)]
    return sums.index(max(sums)), norms.index(max(norms))


def tokens(endpoint: RunningEndpoint, text: str) -> list[int]:
    ids: list[int] = post(endpoint, "/tokenize", {"prompt": text}).json()["tokens"]
    return ids


@pytest.mark.parametrize("as_ids", [False, True])
def test_logprobs_pick_the_right_choice_for_the_exact_share(endpoint: RunningEndpoint, as_ids: bool) -> None:
    picked = [scored(endpoint, number, as_ids=as_ids) for number in range(20)]
    assert all(acc == acc_norm for acc, acc_norm in picked)
    assert sum(acc == number % 5 for number, (acc, _) in enumerate(picked)) == 15
    assert endpoint.stats()["answers"]["choice"] == {"right": 75, "wrong": 25}


def test_echo_lists_are_parallel_and_start_with_null(endpoint: RunningEndpoint) -> None:
    prompt = "The capital of France is Paris"
    for max_tokens, generated in ((0, 0), (1, 1)):
        choice = complete(endpoint, prompt, echo=True, logprobs=2, max_tokens=max_tokens)["choices"][0]
        said = choice["logprobs"]
        assert {len(values) for values in said.values()} == {len(tokens(endpoint, prompt)) + generated}
        assert said["token_logprobs"][0] is None
        assert said["top_logprobs"][0] is None
        assert "".join(said["tokens"]) == choice["text"]
        for token, offset in zip(said["tokens"], said["text_offset"], strict=True):
            assert choice["text"][offset:].startswith(token)


def test_prompt_that_ends_with_no_choice_is_counted_as_such(endpoint: RunningEndpoint) -> None:
    complete(endpoint, "Question: entry 1?\nAnswer: maybe", echo=True, logprobs=1, max_tokens=1)
    assert endpoint.stats()["no_choice"] == 1


def test_tokenizer_routes_answer_in_the_shapes_of_vllm(endpoint: RunningEndpoint) -> None:
    for prefix, slash in (("", ""), ("/v1", "/")):
        info = requests.get(f"{endpoint.url}{prefix}/tokenizer_info{slash}", timeout=10).json()
        assert info["eos_token"] == "<|endoftext|>"
        ids = post(
            endpoint, f"{prefix}/tokenize{slash}", {"prompt": "żółw", "add_special_tokens": False}
        ).json()
        assert ids["count"] == len(ids["tokens"])
        back = post(endpoint, f"{prefix}/detokenize{slash}", {"tokens": ids["tokens"]}).json()
        assert back == {"prompt": "żółw"}
        assert requests.get(f"{endpoint.url}{prefix}/health{slash}", timeout=10).status_code == 200
        models = requests.get(f"{endpoint.url}{prefix}/models{slash}", timeout=10).json()
        assert [model["id"] for model in models["data"]] == ["fake-model"]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/completions", {"model": "other", "prompt": "x"}, 404, "model_not_found"),
        ("/v1/embeddings", {"model": "other", "input": "x"}, 404, "model_not_found"),
        ("/v1/completions", {"model": "fake-model"}, 400, None),
        ("/v1/completions", {"model": "fake-model", "prompt": []}, 400, None),
        ("/v1/completions", {"model": "fake-model", "prompt": [-4]}, 400, None),
        ("/v1/chat/completions", {"model": "fake-model", "messages": []}, 400, None),
        ("/v1/chat/completions", "text", 400, None),
        ("/v1/nothing", {}, 404, "unknown_url"),
        ("/v1/models", {}, 405, None),
    ],
)
def test_refusals_have_the_error_body_of_openai(
    endpoint: RunningEndpoint, path: str, body: object, status: int, code: str | None
) -> None:
    response = post(endpoint, path, body)
    assert response.status_code == status
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    assert error["message"]


def test_body_that_is_no_json_is_refused(endpoint: RunningEndpoint) -> None:
    response = requests.post(endpoint.url + "/v1/completions", data=b"{", timeout=10)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")


def test_stop_and_token_limit_end_the_answer(endpoint: RunningEndpoint) -> None:
    stopped = chat(endpoint, PROMPTS[0], stop=["####", None])["choices"][0]
    assert stopped["finish_reason"] == "stop"
    assert "####" not in stopped["message"]["content"]
    body = chat(endpoint, PROMPTS[0], max_tokens=2)
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 2
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + 2


def test_filler_differs_only_when_it_is_sampled(endpoint: RunningEndpoint) -> None:
    assert content(endpoint, "unheard of") == content(endpoint, "unheard of", seed=3)
    hot: dict[str, object] = {"temperature": 0.7}
    assert content(endpoint, "unheard of", seed=3, **hot) == content(endpoint, "unheard of", seed=3, **hot)
    assert content(endpoint, "unheard of", seed=3, **hot) != content(endpoint, "unheard of", seed=4, **hot)
    unseeded = {content(endpoint, "unheard of", **hot) for _ in range(4)}
    drawn = {choice["message"]["content"] for choice in chat(endpoint, "unheard of", n=4, **hot)["choices"]}
    assert (len(unseeded), len(drawn)) == (4, 4)
    assert endpoint.stats()["unmatched"] == 11


def test_tool_call_is_given_when_tools_are_offered(endpoint: RunningEndpoint) -> None:
    offered: dict[str, object] = {"tools": [{"type": "function", "function": {"name": "add"}}]}
    choice = chat(endpoint, "Use the tool", **offered)["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    call = choice["message"]["tool_calls"][0]["function"]
    assert (call["name"], json.loads(call["arguments"])) == ("add", {"a": 1})
    assert (
        chat(endpoint, "Use the tool", tool_choice="none", **offered)["choices"][0]["finish_reason"] == "stop"
    )


def test_reasoning_comes_apart_and_uses_up_the_limit_first(endpoint: RunningEndpoint) -> None:
    whole = chat(endpoint, "Use the tool")
    assert whole["choices"][0]["message"]["reasoning_content"] == "One two three four five."
    assert whole["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0
    short = chat(endpoint, "Use the tool", max_completion_tokens=3)["choices"][0]
    assert (short["message"]["content"], short["finish_reason"]) == (None, "length")


@pytest.mark.parametrize("prompt", [PROMPTS[3], "unheard of", "Use the tool"])
def test_streamed_chat_says_the_same(endpoint: RunningEndpoint, prompt: str) -> None:
    messages = [{"role": "user", "content": prompt}]
    chunks = stream(
        endpoint, "/v1/chat/completions", messages=messages, stream_options={"include_usage": True}, n=2
    )
    whole = chat(endpoint, prompt, n=2)
    for choice in whole["choices"]:
        own = [c["choices"][0] for c in chunks[:-1] if c["choices"][0]["index"] == choice["index"]]
        assert "".join(c["delta"].get("content") or "" for c in own) == choice["message"]["content"]
        assert [c["finish_reason"] for c in own if c["finish_reason"]] == ["stop"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole["usage"]


def test_streamed_completion_carries_its_logprobs(endpoint: RunningEndpoint) -> None:
    fields: dict[str, object] = {"prompt": "The capital of France is Paris", "echo": True, "logprobs": 1}
    chunks = stream(endpoint, "/v1/completions", **fields)
    whole = complete(endpoint, fields.pop("prompt"), **fields)["choices"][0]
    parts = [chunk["choices"][0] for chunk in chunks]
    assert "".join(part["text"] for part in parts) == whole["text"]
    values = [value for part in parts if part["logprobs"] for value in part["logprobs"]["token_logprobs"]]
    assert values == whole["logprobs"]["token_logprobs"]


def test_chat_logprobs_cover_the_content(endpoint: RunningEndpoint) -> None:
    choice = chat(endpoint, PROMPTS[0], logprobs=True, top_logprobs=3)["choices"][0]
    said = choice["logprobs"]["content"]
    assert "".join(token["token"] for token in said) == choice["message"]["content"]
    assert {len(token["top_logprobs"]) for token in said} == {3}


def test_embeddings_are_unit_vectors_that_depend_on_the_text(endpoint: RunningEndpoint) -> None:
    body = {"model": "fake-model", "input": ["a", "b", "a"], "dimensions": 8}
    data = post(endpoint, "/v1/embeddings", body).json()["data"]
    first, second, third = (entry["embedding"] for entry in data)
    assert first == third != second
    assert sum(x * x for x in first) == pytest.approx(1)
    packed = post(endpoint, "/v1/embeddings", {**body, "encoding_format": "base64"}).json()["data"]
    assert struct.unpack("<8f", base64.b64decode(packed[0]["embedding"])) == pytest.approx(first)


def test_last_requests_are_kept_raw(endpoint: RunningEndpoint) -> None:
    chat(endpoint, PROMPTS[0])
    chat(endpoint, PROMPTS[0])
    seen = endpoint.last_requests()
    assert [request["ordinal"] for request in seen] == [1, 2]
    assert json.loads(seen[0]["body"])["messages"][0]["content"] == PROMPTS[0]


def test_key_is_asked_for_where_vllm_asks_for_it() -> None:
    body = {"model": "fake-model", "prompt": "x"}
    with running_endpoint(
        api_key_name=KEY_NAME, env={KEY_NAME: "not-a-secret"}, logprobs_bug="missing"
    ) as keyed:
        refused = post(keyed, "/v1/completions", body, Authorization="Bearer wrong")
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
        assert requests.get(keyed.url + "/v1/models", timeout=10).status_code == 401
        assert requests.get(keyed.url + "/tokenizer_info", timeout=10).status_code == 200
        given = post(keyed, "/v1/completions", {**body, "logprobs": 1}, Authorization="Bearer not-a-secret")
        assert given.json()["choices"][0]["logprobs"] is None
        assert keyed.stats()["statuses"] == {"401": 2, "200": 2}


def test_unset_key_variable_is_refused_by_name() -> None:
    with (
        pytest.raises(FakeEndpointError, match=rf"exit code 2.*{KEY_NAME} is not set"),
        running_endpoint(api_key_name=KEY_NAME),
    ):
        pytest.fail("it started without a key")


def test_unix_socket_and_latency(tmp_path: Path) -> None:
    socket_path = tmp_path / "endpoint.sock"
    with running_endpoint(uds=socket_path, latency_ms=30) as endpoint:
        assert (endpoint.port, endpoint.stats()["requests"]) == (None, 0)
        assert endpoint.url.startswith("http+unix://%2F")
    assert not socket_path.exists()


def test_endpoint_dies_with_the_process_that_started_it() -> None:
    script = (
        "import time\nfrom evaldock.testkit.fake_endpoint import running_endpoint\n"
        "with running_endpoint() as endpoint:\n    print(endpoint.pid, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    deadline = monotonic() + 5
    while is_running(child) and monotonic() < deadline:
        sleep(0.02)
    assert not is_running(child)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # A zombie waits for an init that may not exist in a container.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
