"""Text of unknown origin."""

import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from evaldock.visible_text import clipped, first_line, markdown, one_line, visible, without_credentials

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=200)


def hidden(text: str, allowed: str = "") -> list[str]:
    categories = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    kept = allowed + "\u200c\u200d"
    return [c for c in text if unicodedata.category(c) in categories and c not in kept]


@given(ANY_TEXT)
def test_visible_text_holds_no_control_bidi_or_surrogate_character(text: str) -> None:
    assert not hidden(visible(text), allowed="\n\t")
    visible(text).encode()


@given(ANY_TEXT)
def test_a_markdown_cell_is_one_line_without_a_bare_pipe_or_tag(text: str) -> None:
    cell = markdown(text)
    assert not hidden(cell)
    assert len(cell.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(\\\\)*[|<`\[]", cell)


@given(ANY_TEXT)
def test_the_first_line_is_one_short_line(text: str) -> None:
    assert len(clipped(text, 20)) <= 20
    assert len(first_line(text, 20).splitlines()) <= 1


def test_plain_text_of_any_script_stays_as_it_is() -> None:
    text = "żółw 日本語 עברית 👩\u200d🚀 1 + 1"
    assert visible(text) == text
    assert one_line(text) == text


def test_escape_sequences_and_bidi_overrides_are_shown() -> None:
    assert one_line("\x1b[31mred\u202e\x9b2J") == "␛[31mred⟨U+202E⟩⟨U+009B⟩2J"


def test_the_user_part_of_an_address_is_hidden() -> None:
    assert without_credentials("at https://me:hunter2@host/v1") == "at https://***@host/v1"
