"""Server-sent events: read however they are split, and added up as OpenAI's own client does."""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import openai
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from tests.kit.raw_server import always, raw_server

from evaldock_entrypoints.adapter.sse import EventParser, as_events, coalesced, events

STREAM = (
    b"\xef\xbb\xbf: a comment\r\n\r\n"
    b"data: one\n\n"
    b"event: x\rdata:two\rid: 7\r\r"
    b"data: three\r\ndata:  and more\r\ndata\r\n\r\n"
    b"retry: 9\n\n\n\n"
    b'data: {"a": 1}\n\n'
    b"data: [DONE]"
)
DATA = [b"one", b"two", b"three\n and more\n", b'{"a": 1}', b"[DONE]"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_events_come_out_alike_however_the_stream_is_split(cuts: list[int]) -> None:
    parser = EventParser()
    places = [0, *sorted(cuts), len(STREAM)]
    parts = [STREAM[start:end] for start, end in pairwise(places)]
    found = [data for part in parts for data in parser.feed(part)]
    assert found + parser.close() == DATA


def test_long_stream_is_read_like_a_short_one() -> None:
    one = b"data: " + b"x" * 70_000 + b"\n\n"
    assert list(events(one * 20)) == [b"x" * 70_000] * 20


@given(st.binary())
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    list(events(raw))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["index", "delta", "message", "text", "content", "tool_calls", "function", "name"]
            )
            | st.sampled_from(["choices", "usage", "logprobs", "finish_reason", "id", "role", "error"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


DELTA = st.fixed_dictionaries(
    {},
    optional={
        "role": JSON,
        "content": JSON,
        "function_call": JSON,
        "tool_calls": st.lists(JSON, max_size=2) | JSON,
    },
)
PART = st.fixed_dictionaries(
    {"index": st.integers(0, 2), "delta": DELTA},
    optional={"text": JSON, "logprobs": JSON, "finish_reason": JSON},
)
BROKEN = (  # found by the test below with more examples than it is given in the quick suite
    [{"function_call": ""}, {"function_call": [None]}],
    [{"tool_calls": {"index": None}}, {"tool_calls": [{}]}],
    [{"tool_calls": "a"}, {"tool_calls": [{"index": 0}]}],
)


@given(st.lists(st.fixed_dictionaries({"choices": st.lists(PART | JSON, max_size=3)}), max_size=4))
def test_no_odd_parts_break_the_sum(parts: list[Any]) -> None:
    orjson.dumps(coalesced(stream_of(parts)))


@pytest.mark.parametrize("deltas", BROKEN)
def test_parts_that_change_their_kind_do_not_break_the_sum(deltas: list[dict[str, Any]]) -> None:
    parts = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    orjson.dumps(coalesced(stream_of(parts)))


def test_answer_without_message_can_be_told_as_events() -> None:
    odd = {"choices": [{"message": {"content": "x", "tool_calls": ["no call"]}}, {"message": None}]}
    assert coalesced(as_events(odd))["choices"][0]["message"]["content"] == "x"


def stream_of(parts: list[Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(part).encode() + b"\n\n" for part in parts) + b"data: [DONE]\n\n"


def chunk(*choices: dict[str, Any], **fields: Any) -> dict[str, Any]:
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**head, "choices": list(choices), **fields}


def part(index: int = 0, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}


def call(index: int, **fields: Any) -> dict[str, Any]:
    return {"index": index, **fields}


_OF_THE_CLIENT = ("parsed", "parsed_arguments", "index")
TOKEN = {"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}
TALK = {
    "text": [
        chunk(part(role="assistant", content="")),
        chunk(part(content="Hel")),
        chunk(part(content="lo")),
        chunk(part(finish="stop")),
        chunk(usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}),
    ],
    "two choices, interleaved": [
        chunk(part(0, role="assistant", content="a"), part(1, role="assistant", content="x")),
        chunk(part(1, content="y")),
        chunk(part(0, content="b", finish="length")),
        chunk(part(1, finish="stop")),
    ],
    "log-probabilities": [
        chunk({**part(role="assistant", content="a"), "logprobs": {"content": [TOKEN], "refusal": None}}),
        chunk({**part(content="a"), "logprobs": {"content": [TOKEN], "refusal": None}}),
        chunk(part(finish="stop")),
    ],
    "tool calls": [
        chunk(part(role="assistant", content=None)),
        chunk(
            part(tool_calls=[call(0, id="t0", type="function", function={"name": "add", "arguments": ""})])
        ),
        chunk(part(tool_calls=[call(0, function={"arguments": '{"a"'})])),
        chunk(
            part(tool_calls=[call(1, id="t1", type="function", function={"name": "sub", "arguments": ""})])
        ),
        chunk(
            part(tool_calls=[call(1, function={"arguments": "{}"}), call(0, function={"arguments": ": 1}"})])
        ),
        chunk(part(finish="tool_calls")),
    ],
    "refusal": [
        chunk(part(role="assistant", content=None, refusal="I ")),
        chunk(part(refusal="won't")),
        chunk(part(finish="stop")),
    ],
}


def openai_sum(parts: list[dict[str, Any]]) -> Any:
    """Return what the openai package accumulates from the same parts."""
    state = ChatCompletionStreamState[None]()
    for each in parts:
        state.handle_chunk(openai.types.chat.ChatCompletionChunk.model_validate(each))
    return state.current_completion_snapshot.model_dump(exclude_unset=True, warnings=False)


def pruned(value: Any) -> Any:
    """Return a tree without what says nothing: null, and what OpenAI's client adds of its own."""
    if isinstance(value, dict):
        return {k: pruned(v) for k, v in value.items() if v is not None and k not in _OF_THE_CLIENT}
    return [pruned(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", TALK)
def test_chat_adds_up_as_in_openais_client(name: str) -> None:
    ours = pruned(coalesced(stream_of(TALK[name])))
    theirs = pruned(openai_sum(TALK[name]))
    assert ours == theirs


def test_reasoning_of_each_spelling_adds_up() -> None:
    parts = [
        chunk(part(role="assistant", reasoning_content="th", reasoning="th")),
        chunk(part(role="assistant", reasoning_content="ink", reasoning="ink")),
        chunk(part(content="x", finish="stop"), usage={"completion_tokens": 3}),
    ]
    tree = coalesced(stream_of(parts))
    message = tree["choices"][0]["message"]
    assert message == {
        "role": "assistant",
        "content": "x",
        "reasoning_content": "think",
        "reasoning": "think",
    }
    assert tree["usage"] == {"completion_tokens": 3}


def test_tool_calls_without_index_and_with_repeated_names() -> None:
    whole = [
        {"id": "a", "function": {"name": "f", "arguments": "{}"}},
        {"id": "b", "function": {"name": "g"}},
    ]
    repeated = [
        call(0, id="a", function={"name": "f", "arguments": "{"}),
        call(0, id="a", function={"name": "f", "arguments": "}"}),
    ]
    first = coalesced(stream_of([chunk(part(tool_calls=whole, finish="tool_calls"))]))
    second = coalesced(stream_of([chunk(part(tool_calls=[each])) for each in repeated]))
    assert [made["id"] for made in first["choices"][0]["message"]["tool_calls"]] == ["a", "b"]
    assert second["choices"][0]["message"]["tool_calls"] == [
        {"id": "a", "function": {"name": "f", "arguments": "{}"}}
    ]


def test_completions_add_up() -> None:
    def piece(text: str, **fields: Any) -> dict[str, Any]:
        return {"id": "c", "object": "text_completion", "choices": [{"index": 0, "text": text, **fields}]}

    logs: dict[str, list[Any]] = {
        "tokens": ["a"],
        "token_logprobs": [-1.0],
        "top_logprobs": [{"a": -1.0}],
        "text_offset": [0],
    }
    parts = [
        piece("a", logprobs=logs, finish_reason=None),
        piece("a", logprobs=logs),
        piece("", finish_reason="stop"),
    ]
    choice = coalesced(stream_of(parts))["choices"][0]
    assert choice == {
        "index": 0,
        "text": "aa",
        "logprobs": {name: value * 2 for name, value in logs.items()},
        "finish_reason": "stop",
    }


def test_a_hundred_thousand_tokens_add_up_in_a_moment() -> None:
    parts = [chunk(part(content="word ")) for _ in range(100_000)]
    assert (
        len(coalesced(stream_of([*parts, chunk(part(finish="stop"))]))["choices"][0]["message"]["content"])
        == 500_000
    )


ANSWER = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": index,
            "message": {
                "role": "assistant",
                "content": f"text {index}",
                "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            "logprobs": {"content": [TOKEN], "refusal": None},
            "finish_reason": "tool_calls",
        }
        for index in range(2)
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}


def test_answer_as_events_adds_up_to_itself() -> None:
    assert coalesced(as_events(ANSWER, include_usage=True)) == ANSWER
    without = coalesced(as_events(ANSWER))
    assert without == {name: value for name, value in ANSWER.items() if name != "usage"}


def test_completion_as_events_adds_up_to_itself() -> None:
    choices = [{"index": i, "text": "x", "logprobs": None, "finish_reason": "stop"} for i in range(2)]
    answer = {"id": "c", "object": "text_completion", "created": 1, "model": "m", "choices": choices}
    assert coalesced(as_events(answer)) == answer


@pytest.fixture
def made_stream() -> Iterator[Any]:
    """ANSWER's events, as OpenAI's client reads them."""
    serve = always(200, as_events(ANSWER, include_usage=True), "Content-Type: text/event-stream")
    with raw_server(serve) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="x") as client:
        yield client.chat.completions.create(
            model="m", messages=[], stream=True, stream_options={"include_usage": True}
        )


def test_openais_client_reads_the_events_we_make(made_stream: Any) -> None:
    chunks = [each.model_dump(exclude_unset=True) for each in made_stream]
    assert pruned(openai_sum(chunks)) == pruned(ANSWER)
