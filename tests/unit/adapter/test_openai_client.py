"""The OpenAI Python client, unchanged, through the adapter: it must see what it sees without."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.kit.adapters import RunningAdapter, running_adapter, settings_for

from evaldock.testkit.fake_endpoint import RunningEndpoint

pytestmark = pytest.mark.slow  # starts processes, or waits

QUESTION: list[Any] = [{"role": "user", "content": "What is 7 + 7?"}]
WEATHER: list[Any] = [
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
]


@pytest.fixture
def clients(tmp_path: Path, endpoint: RunningEndpoint) -> Iterator[list[openai.OpenAI]]:
    """Two clients: straight to the endpoint, and through the adapter."""
    with (
        running_adapter(settings_for(tmp_path, [endpoint.url])) as adapter,
        _client(f"{endpoint.url}/v1") as direct,
        _client(adapter.base_url()) as through,
    ):
        yield [direct, through]


def _client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="any", max_retries=0, timeout=20)


def same(clients: list[openai.OpenAI], ask: Any) -> Any:
    """Ask both, see that they got the same but for identity and time, return it."""
    answers = []
    for client in clients:
        tree = ask(client)
        for key in ("id", "created"):
            tree.pop(key, None)
        answers.append(tree)
    assert answers[0] == answers[1]
    return answers[1]


def test_chat(clients: list[openai.OpenAI]) -> None:
    answer = same(
        clients,
        lambda client: client.chat.completions.create(model="fake-model", messages=QUESTION).model_dump(),
    )
    assert answer["choices"][0]["message"]["content"] in ("14", "no")


def test_completions_with_log_probabilities(clients: list[openai.OpenAI]) -> None:
    answer = same(
        clients,
        lambda client: client.completions.create(
            model="fake-model",
            prompt=["The capital of France is", "a b"],
            max_tokens=4,
            echo=True,
            logprobs=2,
        ).model_dump(),
    )
    assert len(answer["choices"]) == 2
    assert answer["choices"][0]["logprobs"]["token_logprobs"][0] is None


def test_a_chat_stream(clients: list[openai.OpenAI]) -> None:
    def ask(client: openai.OpenAI) -> dict[str, Any]:
        stream = client.chat.completions.create(
            model="fake-model", messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        return {"text": text, "chunks": len(chunks), "usage": chunks[-1].usage}

    assert same(clients, ask)["text"] in ("14", "no")


def test_tools(clients: list[openai.OpenAI]) -> None:
    same(
        clients,
        lambda client: client.chat.completions.create(
            model="fake-model", messages=QUESTION, tools=WEATHER, tool_choice="auto"
        ).model_dump(),
    )


def test_embeddings(clients: list[openai.OpenAI]) -> None:
    for encoding in ("float", "base64"):
        answer = same(
            clients,
            lambda client, form=encoding: client.embeddings.create(
                model="fake-model", input=["a", "b"], encoding_format=form
            ).model_dump(warnings=False),
        )
        assert len(answer["data"]) == 2


def test_models(clients: list[openai.OpenAI]) -> None:
    assert same(clients, lambda client: client.models.list().model_dump())["data"][0]["id"] == "fake-model"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
    ],
)
def test_an_error_is_the_same_exception(
    clients: list[openai.OpenAI], endpoint: RunningEndpoint, status: int, kind: type[openai.APIStatusError]
) -> None:
    endpoint.reset(faults=[{"action": "status", "status": status}])
    messages = []
    for client in clients:
        with pytest.raises(kind) as caught:
            client.chat.completions.create(model="fake-model", messages=QUESTION)
        messages.append(caught.value.message)
    assert messages[0] == messages[1]


def test_what_is_final_is_not_asked_again_by_a_client_that_retries(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    endpoint.reset(faults=[{"action": "status", "status": 500}])
    settings = settings_for(tmp_path, [endpoint.url], served={"max_retries": 0})
    with (
        running_adapter(settings) as adapter,
        _patient(adapter) as client,
        pytest.raises(openai.InternalServerError),
    ):
        client.chat.completions.create(model="fake-model", messages=QUESTION)
    assert endpoint.stats()["requests"] == 1


def _patient(adapter: RunningAdapter) -> openai.OpenAI:
    return openai.OpenAI(base_url=adapter.base_url(), api_key="any", max_retries=5)


async def _texts(url: str, count: int) -> list[str]:
    async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:
        answers = await asyncio.gather(
            *(
                client.chat.completions.create(model="fake-model", messages=QUESTION, temperature=0.9)
                for _ in range(count)
            )
        )
    return [answer.id for answer in answers]


def test_the_asynchronous_client_gets_as_many_answers_as_it_asks(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    with running_adapter(settings_for(tmp_path, [endpoint.url])) as adapter:
        assert len(asyncio.run(_texts(adapter.base_url(), 20))) == 20
    assert endpoint.stats()["requests"] == 20
