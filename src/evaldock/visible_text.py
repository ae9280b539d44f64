"""Makes text of unknown origin safe to show: nothing in it moves a cursor, ends a cell or hides."""

import re
import unicodedata

_JOINERS = "\u200c\u200d"  # needed by Indic and Persian scripts and by emoji; they move nothing
_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Cs", "Zl", "Zp"})
_ELLIPSIS = "…"
_MARKDOWN = re.compile(r"([\\|<\[*`~])")
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")


class _Marks(dict[int, str]):
    """A table for str.translate that fills itself: each character, or a visible mark in its place."""

    def __init__(self, kept: str) -> None:
        super().__init__({ord(character): character for character in kept + _JOINERS})

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = _mark(code) if unicodedata.category(character) in _HIDDEN else character
        return self[code]


def _mark(code: int) -> str:
    if code < 0x20:
        return chr(0x2400 + code)  # the control pictures: ␛ for escape
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"


_BLOCK = _Marks("\n\t")
_LINE = _Marks("")


def visible(text: str) -> str:
    """Return the text with control, bidi and invisible characters as marks; line ends and tabs stay."""
    return text.replace("\r\n", "\n").translate(_BLOCK)


def one_line(text: str) -> str:
    """Return the text as one line, every control character as a mark."""
    return text.translate(_LINE)


def first_line(text: str, length: int = 160) -> str:
    """Return the first line that is not blank, clipped to `length` characters."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return one_line(clipped(line, length))


def clipped(text: str, length: int) -> str:
    """Return at most `length` characters, the last one an ellipsis where some were cut off."""
    return text if len(text) <= length else text[: length - 1] + _ELLIPSIS


def markdown(text: str) -> str:
    """Return the text as one line that Markdown shows literally, also inside a table's cell."""
    return _MARKDOWN.sub(r"\\\1", one_line(text))


def without_credentials(text: str) -> str:
    """Return the text with the user:password@ part of addresses hidden."""
    return _USER_INFO.sub("***@", text)


def width(text: str) -> int:
    """Return how many terminal columns the text takes."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character) or character in _JOINERS:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
