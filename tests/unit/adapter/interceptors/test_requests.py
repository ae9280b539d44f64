"""Interceptors that change requests."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.kit.interceptors import Task, answer, body_of, call, message_of, said

from evaldock_entrypoints.adapter.chain import Chain, InterceptorError

SYSTEM = {"role": "system", "content": "Be kind."}
USER = {"role": "user", "content": "1 + 1?"}


def task(folder: Path, name: str, **config: Any) -> Task:
    return Task(folder=folder, listed=[{"name": name, "config": config}])


@pytest.mark.parametrize(
    ("messages", "strategy", "expected"),
    [
        ([USER], "prepend", [{"role": "system", "content": "Be brief."}, USER]),
        ([SYSTEM, USER], "prepend", [{**SYSTEM, "content": "Be brief.\nBe kind."}, USER]),
        ([SYSTEM, USER], "append", [{**SYSTEM, "content": "Be kind.\nBe brief."}, USER]),
        ([SYSTEM, USER, SYSTEM], "replace", [{**SYSTEM, "content": "Be brief."}, USER]),
        (
            [{"role": "developer", "content": [{"type": "text", "text": "x"}]}],
            "append",
            [{"role": "developer", "content": [{"type": "text", "text": t} for t in ("x", "\nBe brief.")]}],
        ),
    ],
)
def test_a_system_message_joins_those_of_the_harness(
    tmp_path: Path, messages: list[Any], strategy: str, expected: list[Any]
) -> None:
    found = task(tmp_path, "system_message", system_message="Be brief.", strategy=strategy)
    assert body_of(found.sent({"messages": messages, "seed": 1})) == {"messages": expected, "seed": 1}


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("1 + 1 =", "Be brief.\n1 + 1 ="), (["a", "b"], ["Be brief.\na", "Be brief.\nb"])],
)
def test_a_system_message_stands_before_the_prompt_of_completions(
    tmp_path: Path, prompt: Any, expected: Any
) -> None:
    found = task(tmp_path, "system_message", system_message="Be brief.")
    assert body_of(found.sent({"prompt": prompt}, "/completions"))["prompt"] == expected


@pytest.mark.parametrize(
    ("body", "route"),
    [
        ({"prompt": [1, 2]}, "/completions"),
        ({"prompt": [[1], [2]]}, "/completions"),
        ({}, "/completions"),
        ({"input": "a"}, "/embeddings"),
        ({"messages": "x"}, "/chat/completions"),
        ({"messages": [{"role": "system", "content": None}]}, "/chat/completions"),
    ],
)
def test_a_request_that_cannot_carry_the_system_message_fails(
    tmp_path: Path, body: dict[str, Any], route: str
) -> None:
    with pytest.raises(InterceptorError, match="system_message"):
        task(tmp_path, "system_message", system_message="x").sent(body, route)


def test_a_failure_marked_as_best_effort_lets_the_request_go_on(tmp_path: Path) -> None:
    step = {"name": "system_message", "best_effort": True, "config": {"system_message": "x"}}
    body = {"prompt": [1, 2]}
    assert body_of(Task(folder=tmp_path, listed=[step]).sent(body, "/completions")) == body


def test_what_a_step_marked_as_best_effort_did_before_it_failed_is_undone_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    step = {"name": "modify_tools", "best_effort": True, "config": {"remove": ["f"]}}
    tools = [{"type": "function", "function": {"name": name}} for name in "fg"]
    choice = {"type": "function", "function": {"name": "f"}}  # which is gone: the step fails at its end
    body = {"messages": [USER], "tools": tools, "tool_choice": choice}

    async def work(chain: Chain) -> list[dict[str, Any]]:
        made = [call(body), call(body)]
        assert [await chain.request(one) for one in made] == [None, None]
        return [body_of(one) for one in made]

    assert Task(folder=tmp_path, listed=[step]).run(work) == [body, body]
    assert len([said for said in caplog.messages if "modify_tools" in said]) == 1


def test_system_messages_become_one_at_the_top(tmp_path: Path) -> None:
    later = {"role": "system", "content": [{"type": "text", "text": "Now."}]}
    found = task(tmp_path, "consolidate_system").sent({"messages": [USER, SYSTEM, USER, later]})
    assert body_of(found)["messages"] == [{**SYSTEM, "content": "Be kind.\n\nNow."}, USER, USER]


@pytest.mark.parametrize("messages", [[USER], [SYSTEM, USER], []])
def test_one_system_message_at_the_top_is_left_alone(tmp_path: Path, messages: list[Any]) -> None:
    found = task(tmp_path, "consolidate_system").sent({"messages": messages})
    assert found.body.encoded() is found.body.raw


def test_a_system_message_with_an_image_is_not_made_text(tmp_path: Path) -> None:
    image = {"role": "system", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    with pytest.raises(InterceptorError, match="something else than text"):
        task(tmp_path, "consolidate_system").sent({"messages": [SYSTEM, image]})


def test_parameters_go_at_every_depth_and_come_at_the_top(tmp_path: Path) -> None:
    found = task(
        tmp_path,
        "payload_modifier",
        params_to_remove=["seed", "name"],
        params_to_rename={"max_tokens": "max_completion_tokens", "a": "b", "b": "a"},
        params_to_add={"top_k": 1, "extra_body": {"x": 1}, "stop": None, "temperature": 0},
    )
    body = {
        "messages": [{**USER, "name": "me"}],
        "extra_body": {"y": {"seed": 3, "z": 1}},
        "max_tokens": 5,
        "seed": 1,
        "temperature": 1,
        "nested": [{"max_tokens": 7, "a": 1, "b": 2}],
    }
    assert body_of(found.sent(body)) == {
        "messages": [USER],
        "extra_body": {"x": 1},
        "max_completion_tokens": 5,
        "temperature": 0,
        "nested": [{"max_completion_tokens": 7, "b": 1, "a": 2}],
        "top_k": 1,
        "stop": None,
    }


def test_what_is_added_is_not_shared_between_requests(tmp_path: Path) -> None:
    chain = Task(
        folder=tmp_path,
        listed=[
            {"name": "payload_modifier", "config": {"params_to_add": {"extra": {"a": 1}}}},
            {"name": "payload_modifier", "config": {"params_to_rename": {"a": "b", "b": "c"}}},
        ],
    ).chain()
    for _ in range(2):
        made = call({"messages": []})
        asyncio.run(chain.request(made))
        assert body_of(made) == {"messages": [], "extra": {"b": 1}}


def test_headers_are_removed_renamed_and_added_in_any_case_of_letters(tmp_path: Path) -> None:
    found = task(
        tmp_path,
        "payload_modifier",
        headers_to_remove=["X-Gone"],
        headers_to_rename={"X-Old": "X-New"},
        headers_to_add={"X-Run": "seven"},
    ).sent({"messages": []}, x_gone="1", x_old="2", x_kept="3")
    assert found.headers == {"x-new": "2", "x-kept": "3", "x-run": "seven"}
    assert found.body.encoded() is found.body.raw


def test_dropped_parameters_go_at_the_top_alone(tmp_path: Path) -> None:
    found = task(tmp_path, "drop_params", params=["seed", "user"])
    body = {"messages": [USER], "seed": 1, "extra_body": {"seed": 2}}
    assert body_of(found.sent(body)) == {"messages": [USER], "extra_body": {"seed": 2}}
    untouched = found.sent({"messages": [USER]})
    assert untouched.body.encoded() is untouched.body.raw


def test_a_body_that_is_no_object_fails_where_it_must_be_changed(tmp_path: Path) -> None:
    chain = task(tmp_path, "payload_modifier", params_to_add={"x": 1}).chain()
    made = call({})
    made.body.__init__(b"[1]")  # type: ignore[misc]
    with pytest.raises(InterceptorError, match="no JSON object"):
        asyncio.run(chain.request(made))


def tool(name: str, **function: Any) -> dict[str, Any]:
    properties = {"city": {"type": "string"}, "days": {"type": "integer"}}
    parameters = {"type": "object", "properties": properties, "required": ["city", "days"]}
    return {"type": "function", "function": {"name": name, "parameters": parameters, **function}}


def test_tools_are_removed_renamed_changed_and_added(tmp_path: Path) -> None:
    found = task(
        tmp_path,
        "modify_tools",
        remove=["news"],
        rename={"weather": "get_weather"},
        override={"get_weather": {"description": "the weather"}},
        add=[tool("time")],
        strip_properties=["days"],
        add_properties={"unit": {"type": "string"}},
    )
    asked = {"type": "function", "function": {"name": "weather", "arguments": "{}"}}
    earlier = {"role": "assistant", "content": None, "tool_calls": [asked]}
    body = {
        "messages": [USER, earlier],
        "tools": [tool("weather"), tool("news")],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
    }
    sent = body_of(found.sent(body))
    weather, time = sent["tools"]
    assert weather["function"]["name"] == "get_weather"
    assert weather["function"]["description"] == "the weather"
    assert weather["function"]["parameters"]["properties"] == {
        "city": {"type": "string"},
        "unit": {"type": "string"},
    }
    assert weather["function"]["parameters"]["required"] == ["city"]
    assert time == tool("time")
    assert sent["tool_choice"]["function"]["name"] == "get_weather"
    assert sent["messages"][1]["tool_calls"][0]["function"]["name"] == "get_weather"


def test_the_harness_sees_its_own_names_of_tools(tmp_path: Path) -> None:
    found = task(tmp_path, "modify_tools", rename={"weather": "get_weather"})
    called = [{"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}]
    body = {"messages": [USER], "tools": [tool("weather")]}
    _, answered = found.received(said(None, "tool_calls", tool_calls=called), body)
    assert message_of(answered)["tool_calls"][0]["function"]["name"] == "weather"


def test_without_tools_left_neither_list_nor_choice_is_sent(tmp_path: Path) -> None:
    found = task(tmp_path, "modify_tools", remove=["weather"], tool_choice="auto")
    body = {"messages": [USER], "tools": [tool("weather")], "tool_choice": "required"}
    assert body_of(found.sent(body)) == {"messages": [USER]}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"remove": ["news"]}, 'names "news"'),
        ({"rename": {"news": "weather"}}, "share the name"),
        ({"tool_choice": {"type": "function", "function": {"name": "gone"}}}, 'names "gone"'),
    ],
)
def test_tools_that_contradict_their_choice_fail(tmp_path: Path, config: dict[str, Any], reason: str) -> None:
    choice = {"type": "function", "function": {"name": "news"}}
    body = {"messages": [USER], "tools": [tool("weather"), tool("news")], "tool_choice": choice}
    with pytest.raises(InterceptorError, match=reason):
        task(tmp_path, "modify_tools", **config).sent(body)


def conversation(turns: int) -> dict[str, Any]:
    """Return a request that stands in its turn of this number."""
    return {"messages": [USER, *[{"role": "assistant", "content": "2"}, USER] * (turns - 1)]}


def test_turns_are_bounded_by_a_refusal_that_is_not_tried_again(tmp_path: Path) -> None:
    async def work(chain: Chain) -> list[Any]:
        return [await chain.request(call(conversation(turn))) for turn in (1, 2, 3)]

    first, second, third = task(tmp_path, "turn_counter", max_turns=2, remind="never").run(work)
    assert first is None
    assert second is None
    assert third.status == 429
    assert third.headers["x-should-retry"] == "false"
    assert third.body.tree["error"]["code"] == "session_budget_exhausted"
    assert third.facts.error == "limit"


@pytest.mark.parametrize(
    ("config", "reminded"),
    [
        ({}, [8, 9, 10]),
        ({"remind": "periodic", "interval": 4}, [4, 8]),
        ({"remind": "never"}, []),
    ],
)
def test_a_model_is_told_what_is_left(tmp_path: Path, config: dict[str, Any], reminded: list[int]) -> None:
    found = task(tmp_path, "turn_counter", max_turns=10, **config)
    sent = {turn: found.sent(conversation(turn)) for turn in range(1, 11)}
    assert [
        turn for turn, one in sent.items() if body_of(one)["messages"][-1]["role"] == "system"
    ] == reminded
    assert [one.notes["turn"] for one in sent.values()] == list(sent)


@pytest.mark.parametrize(
    "content", ["1 + 1?", [{"type": "text", "text": "1 + 1?"}], [{"type": "image_url", "image_url": {}}]]
)
def test_a_reminder_may_stand_at_the_end_of_the_users_message(tmp_path: Path, content: Any) -> None:
    found = task(tmp_path, "turn_counter", max_turns=1, position="user_message")
    last = body_of(found.sent({"messages": [{"role": "user", "content": content}]}))["messages"][-1]
    text = last["content"] if isinstance(content, str) else last["content"][-1]["text"]
    assert "final answer NOW" in text
    assert len(last["content"]) >= len(content)


def test_turns_of_a_request_without_messages_cannot_be_counted(tmp_path: Path) -> None:
    with pytest.raises(InterceptorError, match="no list of messages"):
        task(tmp_path, "turn_counter", max_turns=1).sent({"prompt": "x"}, "/completions")


def test_an_interceptor_that_changes_nothing_leaves_an_answer_as_it_came(tmp_path: Path) -> None:
    found = task(tmp_path, "modify_tools", rename={"a": "b"})

    async def work(chain: Chain) -> bool:
        made = call({"messages": [USER]})
        await chain.request(made)
        answered = answer(made, said("2"))
        await chain.response(made, answered)
        return answered.body.encoded() is answered.body.raw

    assert found.run(work)
