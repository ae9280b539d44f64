"""Interceptors in the whole adapter, before the fake endpoint."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.kit.adapters import TASK, RunningAdapter, chat, running_adapter, settings_for, streamed

from evaldock.supply.paths import checkout_root
from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock_entrypoints.contract.chain import chain_of
from evaldock_entrypoints.contract.layers import Merged
from evaldock_entrypoints.contract.target import AdapterConfig
from evaldock_entrypoints.exchanges.headers import DeliveryHeader
from evaldock_entrypoints.exchanges.reader import Reader

pytestmark = pytest.mark.slow  # starts processes, or waits

QUESTION = "What is 7 + 7?"
TRACE = "<think>seven and seven</think>\n\n14"


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEndpoint]:
    """An endpoint whose model thinks aloud."""
    row = {"id": "7", "match": QUESTION, "kind": "generate", "right": TRACE, "wrong": "no"}
    field = {**row, "id": "8", "match": "What is 8 + 8?", "right": "16", "reasoning": "eight and eight"}
    table = tmp_path_factory.mktemp("answers") / "thinker.jsonl"
    table.write_text(f"{json.dumps(row)}\n{json.dumps(field)}\n", encoding="utf-8")
    with running_endpoint(answers=[table]) as running:
        yield running


def adapter_for(folder: Path, endpoint: RunningEndpoint, config: Mapping[str, Any]) -> Any:
    """Return an adapter that carries a document's adapter_config out."""
    adapter = AdapterConfig.model_validate(config)
    chain = chain_of(adapter, Merged(tree={}, origins={}), ("adapter_config",))
    return running_adapter(
        settings_for(folder, [endpoint.url], interceptors=[one.model_dump() for one in chain])
    )


def content(answer: Any) -> str:
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def records(adapter: RunningAdapter) -> list[Any]:
    with Reader(adapter.exchanges()) as reader:
        return [record for number in range(len(reader.paths)) for record in reader.records(number)]


def test_a_system_prompt_reaches_the_endpoint_and_the_rest_keeps_its_bytes(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    endpoint.reset()
    raw = b'{"model": "fake-model",\n "messages": [{"role":"user","content":"\\u00e9"}], "temperature":1e-07}'
    with adapter_for(tmp_path, endpoint, {"custom_system_prompt": "Be brief."}) as adapter:
        assert adapter.post(raw).status_code == 200
    seen = endpoint.last_requests()[-1]["body"]
    assert json.loads(seen)["messages"][0] == {"role": "system", "content": "Be brief."}
    assert '"temperature":1e-07' in seen
    assert '"model": "fake-model"' in seen


def test_the_harness_gets_no_reasoning_and_the_store_keeps_it(
    tmp_path: Path, thinker: RunningEndpoint
) -> None:
    with adapter_for(tmp_path, thinker, {"use_reasoning": True}) as adapter:
        assert content(adapter.post(chat(QUESTION))) == "14"
        message = adapter.post(chat("What is 8 + 8?")).json()["choices"][0]["message"]
        adapter.stop()
    assert message["content"] == "16"
    assert "reasoning_content" not in message
    found = records(adapter)
    deliveries = [one.header for one in found if isinstance(one.header, DeliveryHeader)]
    with Reader(adapter.exchanges()) as reader:
        bodies = [reader.read(one.place) for one in found if not isinstance(one.header, DeliveryHeader)]
    raw = b"".join(one.response for one in bodies if one is not None)
    assert b"seven and seven" in raw
    assert b"eight and eight" in raw
    assert [one.notes["reasoning_words"] for one in deliveries] == [3, 3]


def test_reasoning_settings_may_change_and_the_stored_answer_serves(
    tmp_path: Path, thinker: RunningEndpoint
) -> None:
    thinker.reset()
    with adapter_for(tmp_path, thinker, {"use_reasoning": True}) as adapter:
        assert content(adapter.post(chat(QUESTION))) == "14"
    with adapter_for(tmp_path, thinker, {}) as adapter:
        assert content(adapter.post(chat(QUESTION))) == TRACE
    assert thinker.stats()["requests"] == 1


def test_a_stream_loses_its_reasoning_too(tmp_path: Path, thinker: RunningEndpoint) -> None:
    with adapter_for(tmp_path, thinker, {"use_reasoning": True}) as adapter:
        events = streamed(adapter.post(chat(QUESTION, stream=True)))
        client = openai.OpenAI(base_url=adapter.base_url(), api_key="none", max_retries=0)
        parts = client.chat.completions.create(
            model="fake-model", messages=[{"role": "user", "content": "What is 8 + 8?"}], stream=True
        )
        text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
        client.close()
    assert "seven" not in "".join(events)
    assert events[-1] == "[DONE]"
    assert text == "16"


def test_a_client_error_ends_the_task_and_is_said(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    endpoint.reset(faults=[{"action": "status", "status": 404}])
    with adapter_for(tmp_path, endpoint, {"use_raise_client_errors": True}) as adapter:
        assert adapter.post(chat(QUESTION)).status_code == 404
        assert adapter.post(chat("What is 1 + 1?")).status_code == 503
        adapter.stop()
    assert adapter.status()["tasks"][TASK]["stopped"]["exit_code"] == 3
    assert endpoint.stats()["requests"] == 1


def test_spent_turns_are_an_error_of_the_harness_and_ask_nobody(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    endpoint.reset()
    chain = [{"name": "turn_counter", "config": {"max_turns": 1}}]
    with adapter_for(tmp_path, endpoint, {"interceptors": chain}) as adapter:
        turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        refused = adapter.post({"model": "fake-model", "messages": [*turns, turns[0]]})
    assert (refused.status_code, refused.headers["x-should-retry"]) == (429, "false")
    assert endpoint.stats()["requests"] == 0


def test_an_interceptor_that_fails_fails_the_request(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    endpoint.reset()
    with adapter_for(tmp_path, endpoint, {"custom_system_prompt": "x"}) as adapter:
        failed = adapter.post({"model": "fake-model", "prompt": [1, 2]}, "/completions")
    assert failed.status_code == 500
    assert "system_message" in failed.json()["error"]["message"]
    assert endpoint.stats()["requests"] == 0


def test_what_observers_write_is_there_when_the_adapter_has_ended(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    config = {
        **{"use_request_logging": True, "use_response_logging": True, "use_progress_tracking": True},
        **{"params_to_add": {"user": "me"}},
    }
    with adapter_for(tmp_path, endpoint, config) as adapter:
        for _ in range(3):
            adapter.post(chat(QUESTION), headers={"Authorization": "Bearer sk-canary"})
        adapter.stop()
    folder = tmp_path / TASK
    assert (folder / "progress").read_text() == "3\n"
    assert len((folder / "logs" / "requests.jsonl").read_text().splitlines()) == 2
    assert len((folder / "logs" / "responses.jsonl").read_text().splitlines()) == 3
    assert json.loads((folder / "logs" / "response_stats.json").read_text())["answers"] == 3
    for path in (folder / "logs").iterdir():
        assert b"canary" not in path.read_bytes()


def test_an_interceptor_of_a_users_own(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    chain = [{"name": "shout:Shout", "config": {"mark": "?!"}}]
    own = {"modules": [str(checkout_root() / "examples" / "interceptors")]}
    endpoint.reset()
    with running_adapter(settings_for(tmp_path, [endpoint.url], interceptors=chain, task=own)) as adapter:
        answer = adapter.post(chat(QUESTION))
    assert json.loads(endpoint.last_requests()[-1]["body"])["messages"][-1]["content"] == f"{QUESTION}?!"
    assert content(answer) == content(answer).upper()
