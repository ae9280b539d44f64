"""Reasoning: cut off, counted, moved, given back."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kit.interceptors import Task, body_of, call, exchanged, message_of, said

from evaldock_entrypoints.adapter.chain import Chain
from evaldock_entrypoints.adapter.interceptors.reasoning_text import Tokens, separated

THINK = Tokens(start="<think>", end="</think>")
AT_START = Tokens(start=None, end="</think>")
USER = {"role": "user", "content": "1 + 1?"}


def task(folder: Path, **config: Any) -> Task:
    return Task(folder=folder, listed=[{"name": "reasoning", "config": config}])


@pytest.mark.parametrize(
    ("text", "tokens", "kept", "reasoning", "is_open"),
    [
        ("2", THINK, "2", "", False),
        ("<think>one and one</think>\n\n2", THINK, "2", "one and one", False),
        ("one and one</think>\n2", THINK, "2", "one and one", False),
        ("Well. <think>a</think> 2 <think>b</think> 3", THINK, "Well.  2  3", "a\nb", False),
        ("<think>one and", THINK, "", "one and", True),
        ("2 <think>or 3", THINK, "2 ", "or 3", True),
        ("a</think>2<think>b", THINK, "2", "a\nb", True),
        ("<think></think>2", THINK, "2", "", False),
        ("    x = 1\n", THINK, "    x = 1\n", "", False),
        ("<think>a</think>\n    x = 1", THINK, "    x = 1", "a", False),
        ("one and one</think>2", AT_START, "2", "one and one", False),
        ("one and", AT_START, "", "one and", True),
    ],
)
def test_where_reasoning_ends_the_answer_begins(
    text: str, tokens: Tokens, kept: str, reasoning: str, is_open: bool
) -> None:
    found = separated(text, tokens)
    assert (found.text, found.reasoning, found.is_open) == (kept, reasoning, is_open)


@given(st.lists(st.sampled_from(["<think>", "</think>", "a", "\n", "<", "think>"]), max_size=12).map("".join))
def test_no_first_token_of_reasoning_is_left_in_a_text_and_a_plain_one_stays(text: str) -> None:
    found = separated(text, THINK)
    if "<think>" not in text and "</think>" not in text:
        assert found.text == text
    assert len(found.text) <= len(text)
    assert found.is_open <= ("<think>" in text)


def test_the_harness_gets_the_answer_alone(tmp_path: Path) -> None:
    made, found = task(tmp_path).received(said("<think>one and one</think>\n2"))
    assert message_of(found) == {"role": "assistant", "content": "2"}
    assert made.notes == {
        "reasoning_words": 3,
        "reasoning_unfinished": 0,
        "reasoning_tokens": 37,  # 40 tokens for 11 characters of reasoning and 1 of text
        "reasoning_tokens_estimated": True,
    }


def test_untouched_fields_keep_their_bytes(tmp_path: Path) -> None:
    _, found = task(tmp_path).received(said("2"))
    assert found.body.encoded() is found.body.raw


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_a_servers_own_field_goes_as_well(tmp_path: Path, field: str) -> None:
    made, found = task(tmp_path).received(said("2", **{field: "one and one"}))
    assert message_of(found) == {"role": "assistant", "content": "2"}
    assert made.notes["reasoning_words"] == 3


def test_tokens_that_the_server_counted_are_taken(tmp_path: Path) -> None:
    tree = said("2", reasoning_content="one")
    tree["usage"]["completion_tokens_details"] = {"reasoning_tokens": 30}
    made, _ = task(tmp_path).received(tree)
    assert made.notes["reasoning_tokens"] == 30
    assert "reasoning_tokens_estimated" not in made.notes


@pytest.mark.parametrize(
    ("message", "kept", "dropped"),
    [
        ({"content": "<think>one and"}, "<think>one and", ""),
        ({"content": "2 <think>or"}, "2 <think>or", "2 "),
        ({"content": None, "reasoning_content": "one and"}, "", ""),
        ({"content": "", "reasoning": "one and"}, "", ""),
    ],
)
def test_unfinished_reasoning_is_counted_and_kept_or_not(
    tmp_path: Path, message: dict[str, Any], kept: str, dropped: str
) -> None:
    for include, expected in ((True, kept), (False, dropped)):
        made, found = task(tmp_path, include_if_not_finished=include).received(
            said(**message, finish_reason="length")
        )
        assert message_of(found)["content"] == expected
        assert made.notes["reasoning_unfinished"] == 1


def test_every_choice_is_looked_at(tmp_path: Path) -> None:
    tree = said("<think>a</think>2")
    tree["choices"].append({"index": 1, "message": {"role": "assistant", "content": "<think>b c"}})
    made, found = task(tmp_path, include_if_not_finished=False).received(tree)
    assert [choice["message"]["content"] for choice in (found.body.tree or {})["choices"]] == ["2", ""]
    assert (made.notes["reasoning_words"], made.notes["reasoning_unfinished"]) == (3, 1)


def test_lists_of_parts_lose_their_thinking(tmp_path: Path) -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "one and one"}]},
        {"type": "text", "text": "<think>more</think>2"},
        {"type": "image_url", "image_url": {"url": "x"}},
    ]
    made, found = task(tmp_path).received(said(parts))
    assert message_of(found)["content"] == [{"type": "text", "text": "2"}, parts[2]]
    assert made.notes["reasoning_words"] == 4


def test_tool_calls_are_no_unfinished_reasoning_and_stay(tmp_path: Path) -> None:
    called = [{"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}]
    for start in ("<think>", None):
        made, found = task(tmp_path, start_reasoning_token=start).received(
            said(None, "tool_calls", tool_calls=called, reasoning_content="I add")
        )
        assert message_of(found) == {"role": "assistant", "content": None, "tool_calls": called}
        assert made.notes["reasoning_unfinished"] == 0


def test_the_text_of_completions_loses_its_reasoning(tmp_path: Path) -> None:
    tree = {"choices": [{"index": 0, "text": "a</think>\n2", "finish_reason": "stop"}]}
    _, found = task(tmp_path).received(tree, {"prompt": "1 + 1 ="}, route="/completions")
    assert (found.body.tree or {})["choices"][0]["text"] == "2"


def test_a_scored_text_is_left_alone(tmp_path: Path) -> None:
    tree = {"choices": [{"index": 0, "text": "a</think>2", "logprobs": {}}]}
    body = {"prompt": "a</think>2", "max_tokens": 1, "echo": True, "logprobs": 1}
    _, found = task(tmp_path, start_reasoning_token=None).received(tree, body, route="/completions")
    assert found.body.encoded() is found.body.raw


@pytest.mark.parametrize(
    ("content", "expected"), [("2", "<think>one</think>2"), (None, "<think>one")], ids=["ended", "open"]
)
def test_reasoning_can_move_into_the_text_instead(tmp_path: Path, content: str | None, expected: str) -> None:
    _, found = task(tmp_path, migrate_reasoning_content=True).received(said(content, reasoning_content="one"))
    assert message_of(found) == {"role": "assistant", "content": expected}


def test_reasoning_can_be_counted_without_a_change(tmp_path: Path) -> None:
    made, found = task(tmp_path, strip=False).received(said("<think>a</think>2", reasoning_content="b"))
    assert message_of(found) == {
        "role": "assistant",
        "content": "<think>a</think>2",
        "reasoning_content": "b",
    }
    assert made.notes["reasoning_words"] == 2
    assert task(tmp_path, track=False).received(said("<think>a</think>2"))[0].notes == {}


def test_a_failure_passes_as_it_is(tmp_path: Path) -> None:
    _, found = task(tmp_path).received({"error": {"message": "<think>a</think>"}}, status=500)
    assert found.body.encoded() is found.body.raw


def replay(folder: Path, *before: dict[str, Any], **config: Any) -> Task:
    return Task(folder=folder, listed=[*before, {"name": "reasoning_replay", "config": config}])


async def second_turn(chain: Chain, first: dict[str, Any], *, question: str = "1 + 1?") -> dict[str, Any]:
    """Let a model answer, and return the request that the harness makes of it next."""
    opening = {"role": "user", "content": question}
    _, found = await exchanged(chain, first, {"messages": [opening]})
    shown = {key: value for key, value in message_of(found).items() if not key.startswith("reasoning")}
    made = call({"messages": [opening, shown, {"role": "user", "content": "Sure?"}]})
    await chain.request(made)
    return body_of(made)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("think_tags", {"role": "assistant", "content": "<think>one and one</think>\n2"}),
        ("native", {"role": "assistant", "content": "2", "reasoning_content": "one and one"}),
        (
            "both",
            {
                "role": "assistant",
                "content": "<think>one and one</think>\n2",
                "reasoning_content": "one and one",
            },
        ),
    ],
)
@pytest.mark.parametrize(
    "first", [said("<think>one and one</think>\n2"), said("2", reasoning_content="one and one")]
)
def test_earlier_reasoning_goes_back_to_the_model(
    tmp_path: Path, form: str, expected: dict[str, Any], first: dict[str, Any]
) -> None:
    found = replay(tmp_path, {"name": "reasoning"}, form=form)
    sent = found.run(lambda chain: second_turn(chain, first))
    assert sent["messages"][1] == expected


def test_the_reasoning_of_another_conversation_is_not_given(tmp_path: Path) -> None:
    async def work(chain: Chain) -> list[dict[str, Any]]:
        await second_turn(chain, said("<think>a</think>Yes"), question="Is it?")
        made = call({"messages": [USER, {"role": "assistant", "content": "Yes"}, USER]})
        await chain.request(made)
        return [*body_of(made)["messages"]]

    found = replay(tmp_path, {"name": "reasoning"}).run(work)
    assert found[1] == {"role": "assistant", "content": "Yes"}


def test_reasoning_follows_through_several_turns_and_tool_calls(tmp_path: Path) -> None:
    called = [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}]

    async def work(chain: Chain) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = [USER]
        answers = [
            said(None, "tool_calls", tool_calls=called, reasoning_content="I add"),
            said("2", reasoning="so 2"),
        ]
        for tree in answers:
            _, found = await exchanged(chain, tree, {"messages": messages})
            messages = [*messages, {"index": 0, **message_of(found)}, {"role": "tool", "tool_call_id": "c1"}]
        made = call({"messages": messages})
        await chain.request(made)
        assert made.notes["reasoning_replayed"] == 2
        return [*body_of(made)["messages"]]

    found = replay(tmp_path, {"name": "reasoning"}, form="native").run(work)
    assert [one.get("reasoning_content") for one in found if one["role"] == "assistant"] == ["I add", "so 2"]


def test_memory_is_bounded(tmp_path: Path) -> None:
    async def work(chain: Chain) -> list[Any]:
        for number in range(3):
            await exchanged(
                chain, said(f"<think>{number}</think>a"), {"messages": [{**USER, "content": str(number)}]}
            )
        sent = []
        for number in range(3):
            made = call(
                {"messages": [{**USER, "content": str(number)}, {"role": "assistant", "content": "a"}]}
            )
            await chain.request(made)
            sent.append("reasoning_replayed" in made.notes)
        return sent

    assert replay(tmp_path, max_entries=2).run(work) == [False, True, True]
    big = "x" * 300_000
    found = replay(tmp_path, {"name": "reasoning"}, max_size_mb=1)
    assert (
        asyncio.run(second_turn(found.chain(), said(f"<think>{big}</think>a")))["messages"][1]["content"]
        == "a"
    )
