"""Keys: no two different bodies share one; the order of keys and space do not matter."""

import json
from decimal import Decimal
from itertools import combinations
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evaldock_entrypoints.exchanges.key import digest_of

ROUTE = "/chat/completions"
# What a parser of doubles, of 64-bit integers or of dictionaries would take for the same.
_SPELT = """
    0 -0 0.0 -0.0 1e-400 2e-400 5e-324 4e-324 1e-999 0e999 1e-308
    1 1.0 1e0 10e-1 1.00 1.0000000000000000000001 0.99999999999999999999999
    0.1 0.1000000000000000055511151231257827 0.10000000000000001 0.30000000000000004 0.30000000000000005
    9007199254740992 9007199254740993 9007199254740992.0 9007199254740993.0
    18446744073709551615 18446744073709551616 18446744073709551617 1.8446744073709551615e19
    -9223372036854775808 -9223372036854775809 -9223372036854775810 123456789012345678901234567890
    1e308 1e309 1e400 1e401 -1e400 NaN Infinity -Infinity true null "1" "1.0" "NaN" "null"
    {"a":1} {"a":1,"a":1} {"a":1,"a":2} {"a":2,"a":1} {"a":2} {"a":1,"b":2} {"b":2,"a":1,"b":2}
    {"a":{"a":1,"a":2}} {"a":":","a":2} {"a\\u003a":1,"a\\u003a":2} {"a":":","b":1,"b":2} {"\\u0061":1,"a":2}
    {"a":"\\u003a","b":1,"b":2} {"a":":","b":2} {"a":"\\u003A:","b":1,"b":3}
    "\\ud800" "\\udfff" "\\ufffd" "\\\\ud800" {"\\ud800":1} {"\\ud801":1} [] {} [[]] [{}] "" [null] ["e-999"]
    "\\"1e-400" "\\"1e-401" ["\\\\",1e-400] ["\\\\",1e-401] ["\\"",1e-400,"\\""] ["\\"",1e-401,"\\""]
"""
LOOKALIKES = _SPELT.split()
_WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_DECIMALS = st.integers(-(10**9), 10**9).map(lambda number: number / 10**4)
_ORDINARY = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 10**15, 10**15 - 1) | _DECIMALS | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=12,
)
_NUMBERS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-"]),
    st.sampled_from(["0", "1", "10", "9007199254740993", "18446744073709551617"]),
    st.sampled_from(["", ".0", ".10", ".1", ".00000000000000000001", ".12345678901234567"]),
    st.sampled_from(["", "e0", "e1", "E+1", "e-1", "e-330", "e-331", "e-99", "e300", "e310", "e0005"]),
)
_STRINGS = st.text(st.sampled_from(':"\\,{}19e-\x00é\U0001f600'), max_size=5).map(json.dumps)
_KEYS = st.sampled_from(['"a"', '"b"', '":"', '"\\u003a"', '"\\u0061"', '"\\ud800"'])


def _spelt(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(st.builds("{}:{}".format, _KEYS, inner), max_size=3)
    lists = st.lists(inner, max_size=3)
    return pairs.map(lambda parts: f"{{{','.join(parts)}}}") | lists.map(lambda parts: f"[{','.join(parts)}]")


_TEXTS = st.recursive(_NUMBERS | _STRINGS | st.sampled_from(LOOKALIKES), _spelt, max_leaves=6)


def meaning(text: str) -> Any:
    """Return what JSON says, exactly: numbers as decimals, integers told from others, all pairs kept."""

    def pairs(found: list[tuple[str, Any]]) -> Any:
        return ("object", sorted(found, key=lambda pair: pair[0]))

    return json.loads(
        text,
        object_pairs_hook=pairs,
        parse_int=lambda digits: ("integer", int(digits)),
        parse_float=lambda digits: ("decimal", Decimal(digits)),
        parse_constant=lambda name: ("constant", name),
    )


@pytest.mark.parametrize("frame", ["%s", '{"n":%s}', '[":",%s,{"z":1,"a":"\\""}]'])
def test_lookalikes_have_keys_of_their_own(frame: str) -> None:
    for one, other in combinations(LOOKALIKES, 2):
        texts = frame % one, frame % other
        keys = [digest_of(ROUTE, text.encode()) for text in texts]
        assert (keys[0] != keys[1]) or meaning(texts[0]) == meaning(texts[1]), texts


@given(_TEXTS, _TEXTS)
def test_no_two_bodies_of_different_meaning_share_a_key(one: str, other: str) -> None:
    if digest_of(ROUTE, one.encode()) == digest_of(ROUTE, other.encode()):
        assert meaning(one) == meaning(other)


@given(st.binary(max_size=40), st.binary(max_size=40))
@example(b'{"a":1}', b'\xef\xbb\xbf{"a":1}')
@example(b'"\xff"', b'"\xfe"')
@example(b"[" * 2000, b"[" * 2001)
@example(b"[" * 600 + b"]" * 600, b"[" * 601 + b"]" * 601)
def test_what_is_no_json_counts_byte_by_byte(one: bytes, other: bytes) -> None:
    if digest_of(ROUTE, one) == digest_of(ROUTE, other):
        assert one == other or json.loads(one) == json.loads(other)


def test_the_two_forms_of_a_body_do_not_meet() -> None:
    """What is taken byte by byte may spell the canonical form of another body."""
    assert orjson.dumps(orjson.loads(b"0.1e-99")) == b"1e-100"
    assert digest_of(ROUTE, b"0.1e-99") != digest_of(ROUTE, b"1e-100")


@given(_ORDINARY, st.randoms(use_true_random=False))
def test_order_of_keys_space_and_escapes_do_not_matter(tree: Any, random: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            random.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    spellings = [
        json.dumps(tree),
        json.dumps(shuffled(tree), indent=3),
        json.dumps(shuffled(tree), ensure_ascii=False, separators=(",", ":")),
    ]
    keys = {digest_of(ROUTE, spelling.encode()) for spelling in spellings}
    assert len(keys) == 1


def test_the_route_belongs_to_the_key() -> None:
    assert digest_of("/completions", b"{}") != digest_of("/chat/completions", b"{}")
    parts = [("a", b"b"), ("ab", b""), ("", b"ab"), ("1:a", b"b"), ("/completions?a=1", b"{}")]
    assert len({digest_of(route, body) for route, body in parts}) == len(parts)


@given(_TEXTS)
def test_a_parsed_body_gives_the_same_key(text: str) -> None:
    body = text.encode()
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError:
        return
    assert digest_of(ROUTE, body, tree) == digest_of(ROUTE, body)
