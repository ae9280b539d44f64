import copy
import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaldock_entrypoints.adapter.body import Body

_KEYS = st.text(max_size=4)
_NUMBERS = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_LEAVES = st.none() | st.booleans() | _NUMBERS | _TEXT
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=8,
)
_OBJECTS = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), _VALUES, max_size=5)
_WRITERS: list[Callable[[Any], str]] = [
    lambda tree: json.dumps(tree),
    lambda tree: json.dumps(tree, ensure_ascii=False, indent=2),
    lambda tree: json.dumps(tree, separators=(" ,", "\t: ")),
]


def test_a_body_nobody_changed_is_the_very_bytes() -> None:
    raw = b'{ "model" : "m",\n"temperature":1e-07, "x": "\\u00e9" }'
    body = Body(raw)
    assert body.tree is not None
    assert body.edit() == {"model": "m", "temperature": 1e-07, "x": "é"}
    assert body.encoded() is raw
    assert Body(raw).encoded() is raw


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        ('{"t":1.0,"n":1}', {"n": 2}, '{"t":1.0,"n":2}'),
        ('{"t":1.50,"n":1}', {"added": [1]}, '{"t":1.50,"n":1,"added":[1]}'),
        (
            '{"seed":123456789012345678901234567890,"n":1}',
            {"n": 3},
            '{"seed":123456789012345678901234567890,"n":3}',
        ),
        ('{"n":1}', {"n": True}, '{"n":true}'),
        ('{"n":1}', {"n": 1.0}, '{"n":1.0}'),
        ('{"a":1,"a":2,"b":0.10}', {"a": 3}, '{"a":3,"b":0.10}'),
        ('{"s":"\\u00e9\\/","n":0}', {"n": 1}, '{"s":"\\u00e9\\/","n":1}'),
    ],
)
def test_only_what_changed_is_written_anew(before: str, change: dict[str, Any], after: str) -> None:
    body = Body(before.encode())
    body.edit().update(change)
    assert body.encoded() == after.encode()


def test_a_changed_message_leaves_its_siblings_bytes() -> None:
    message = b'{"content": "<think>x</think>y", "n": 1e-05}'
    raw = b'{"choices": [{"message": ' + message + b', "logprobs": [-0.10, -1.0E-7]}]}'
    body = Body(raw)
    body.edit()["choices"][0]["message"]["content"] = "y"
    assert b'"n": 1e-05' in body.encoded()
    assert b'"logprobs": [-0.10, -1.0E-7]' in body.encoded()
    assert json.loads(body.encoded())["choices"][0]["message"]["content"] == "y"


@pytest.mark.parametrize(
    ("raw", "change"),
    [
        (b'{"model" : "m", "user":"\\u006dodel"}', {"user": "x"}),
        (b'{ "y":"q", "a":"\\u0062"}', {"y": "b", "a": "c"}),
        (b'{ "a/b":"q", "y":"a\\/b"}', {"y": "c"}),
    ],
)
def test_a_text_that_is_spelt_otherwise_is_not_taken_for_another_one(
    raw: bytes, change: dict[str, Any]
) -> None:
    body = Body(raw)
    body.edit().update(change)
    assert orjson.loads(body.encoded()) == orjson.loads(raw) | change


def test_a_body_that_is_no_object_cannot_be_edited() -> None:
    for raw in (b"", b"[]", b"no json", b'{"a": "\\ud800"}'):
        with pytest.raises(ValueError, match="no JSON object"):
            Body(raw).edit()
        assert Body(raw).encoded() == raw


@given(_OBJECTS, _OBJECTS, st.sampled_from(_WRITERS))
def test_any_change_comes_out_as_meant_and_touches_nothing_else(
    old: dict[str, Any], new: dict[str, Any], write: Callable[[Any], str]
) -> None:
    raw = write(old).encode()
    body = Body(raw)
    tree = body.edit()
    kept = dict(list(tree.items())[::2])
    tree.clear()
    tree.update({**kept, **copy.deepcopy(new)})
    assert orjson.dumps(orjson.loads(body.encoded()), option=orjson.OPT_SORT_KEYS) == orjson.dumps(
        {**kept, **new}, option=orjson.OPT_SORT_KEYS
    )


@given(_OBJECTS, st.data())
def test_untouched_members_keep_their_bytes(old: dict[str, Any], data: st.DataObject) -> None:
    members = [
        f"{json.dumps(key)}: {data.draw(st.sampled_from(_WRITERS))(value)}" for key, value in old.items()
    ]
    changed = data.draw(st.sampled_from(sorted(old))) if old else "new"
    body = Body(("{" + " , ".join(members) + "}").encode())
    body.edit()[changed] = "changed, surely"
    kept = [text for key, text in zip(old, members, strict=True) if key != changed]
    written = body.encoded().decode()
    assert all(text in written for text in kept)
    rest = written.replace("changed, surely", "")
    for text in kept:
        rest = rest.replace(text, "", 1)
    assert len(rest) <= len("{:  }" + json.dumps(changed) + '""') + 3 * len(old)


def test_items_put_before_and_behind_leave_the_others_bytes() -> None:
    raw = b'{"messages": [ {"role": "user", "content": "\\u00e9"} , {"n": 1.50} ], "t": 1.0}'
    body = Body(raw)
    body.edit()["messages"].insert(0, {"role": "system", "content": "s"})
    assert body.encoded() == raw.replace(b"[", b'[{"role":"system","content":"s"},')
    kept = b'{"role": "user", "content": "\\u00e9"},{"n": 1.50}'
    body = Body(raw)
    body.edit()["messages"].append("last")
    assert body.encoded() == b'{"messages": [' + kept + b',"last"],"t": 1.0}'


def test_a_text_that_stands_twice_is_changed_in_its_own_place_only() -> None:
    body = Body(b'{"a": "x y", "b": {"c": "x y"}, "n": 1.0}')
    body.edit()["b"]["c"] = "z"
    assert json.loads(body.encoded()) == {"a": "x y", "b": {"c": "z"}, "n": 1.0}


def test_a_text_inside_another_is_not_taken_for_it() -> None:
    body = Body(b'{"a": "say \\"x\\" now", "b": "x", "n": 1.0}')
    body.edit()["b"] = "z"
    assert json.loads(body.encoded()) == {"a": 'say "x" now', "b": "z", "n": 1.0}


@pytest.mark.parametrize("write", [*_WRITERS, lambda tree: json.dumps(tree, separators=(",", ":"))])
@pytest.mark.parametrize(
    "old",
    [
        {"messages": [{"role": "user", "content": "é"}], "t": 1.0},
        {"messages": [], "t": True},
        {"x": {"messages": [1]}, "messages": [{"content": '"messages": ['}]},
        {"x": '"messages":[', "messages": [1, True, 1.0]},
        {'"messages': [2], "messages": [2]},
    ],
)
def test_items_put_first_come_out_first(write: Callable[[Any], str], old: dict[str, Any]) -> None:
    body = Body(write(old).encode())
    body.edit()["messages"][:0] = [{"role": "system", "content": "ü"}, 1.0]
    assert json.dumps(json.loads(body.encoded())) == json.dumps(
        {**old, "messages": [{"role": "system", "content": "ü"}, 1.0, *old["messages"]]}
    )


def test_an_item_put_first_leaves_every_other_byte() -> None:
    body = Body(b'{"t": 1.50, "messages": [{"content": "\\u00e9",  "x": 1e0}], "t2":0.10}')
    body.edit()["messages"].insert(0, {"role": "system"})
    assert body.encoded() == (
        b'{"t": 1.50, "messages": [{"role":"system"},{"content": "\\u00e9",  "x": 1e0}], "t2":0.10}'
    )
