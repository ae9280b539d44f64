"""Text from tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaldock_entrypoints.serve.front.text import TextAssembler, text_offsets, token_text


def assembled(pieces: list[bytes], stops: tuple[str, ...]) -> tuple[str, bool]:
    assembler = TextAssembler(stops)
    text = "".join(assembler.push(piece) for piece in pieces)
    return text + assembler.flush(), assembler.stopped


def test_stop_string_over_three_tokens_ends_the_text_before_it() -> None:
    assert assembled([b"one<", b"/st", b"op> two"], ("</stop>",)) == ("one", True)


def test_no_part_of_a_stop_string_leaks_before_it_is_complete() -> None:
    assembler = TextAssembler(["STOP"])
    assert assembler.push(b"goST") == "go"
    assert assembler.push(b"OP") == ""
    assert assembler.stopped


def test_text_that_only_began_like_a_stop_string_is_delivered() -> None:
    assert assembled([b"a\n", b"b\n"], ("\n\n",)) == ("a\nb\n", False)


def test_the_stop_string_that_is_complete_first_counts() -> None:
    assert assembled([b"a second first"], ("first", "second")) == ("a ", True)
    assert assembled([b"abc"], ("abc", "b")) == ("a", True)


def test_character_split_over_tokens_arrives_whole() -> None:
    euro = "€".encode()
    assembler = TextAssembler()
    assert [assembler.push(euro[:1]), assembler.push(euro[1:2]), assembler.push(euro[2:])] == ["", "", "€"]


def test_unfinished_character_at_the_end_becomes_the_replacement_character() -> None:
    assert assembled([b"a\xe2\x82"], ()) == ("a\ufffd", False)


def test_a_stop_string_of_split_characters_is_found() -> None:
    assert assembled([b"a\xe3\x80", b"\x82b"], ("。",)) == ("a", True)


LETTERS = st.sampled_from("ab€")


@given(st.text(LETTERS, max_size=20), st.lists(st.text(LETTERS, min_size=1, max_size=4), max_size=3))
def test_result_does_not_depend_on_how_bytes_are_cut_into_tokens(text: str, stops: list[str]) -> None:
    data = text.encode()
    cuts = [data[index : index + 1] for index in range(len(data))]
    assert assembled(cuts, tuple(stops)) == assembled([data], tuple(stops))


@pytest.mark.parametrize(("piece", "text"), [(b" Paris", " Paris"), (b"\xe2\x82", "bytes:\\xe2\\x82")])
def test_token_text(piece: bytes, text: str) -> None:
    assert token_text(piece) == text


def test_offsets_count_characters_not_bytes() -> None:
    euro = "€".encode()
    assert text_offsets([b"a", euro[:1], euro[1:], b"b"]) == [0, 1, 1, 2]
