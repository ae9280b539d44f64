"""From token bytes to text: UTF-8 split over tokens, stop strings split over tokens."""

import codecs
from collections.abc import Iterable, Sequence


class TextAssembler:
    """Turns token bytes into text that is safe to send, holding back what may still become a stop string."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def push(self, piece: bytes) -> str:
        """Add a token's bytes; return the text that became final. A complete stop string sets `stopped`."""
        return self._settle(self._decoder.decode(piece))

    def flush(self) -> str:
        """Return what is still held back: the text ends here."""
        text = self._settle(self._decoder.decode(b"", final=True))
        held, self._held = self._held, ""
        return text + held

    def _settle(self, text: str) -> str:
        if self.stopped:
            return ""
        pending = self._held + text
        cut = first_stop(pending, self._stops)
        if cut is not None:
            self.stopped, self._held = True, ""
            return pending[:cut]
        keep = held_length(pending, self._stops)
        self._held = pending[len(pending) - keep :]
        return pending[: len(pending) - keep]


def first_stop(text: str, stops: Iterable[str]) -> int | None:
    """Return where the stop string begins that is complete first, None when there is none.

    The one that begins first would depend on how the text is cut into tokens: of "abc" and "b", "b" is
    complete before "abc" can be told.
    """
    found = [(index + len(stop), index) for stop in stops if (index := text.find(stop)) >= 0]
    return min(found)[1] if found else None


def held_length(text: str, stops: Iterable[str]) -> int:
    """Return the length of the longest end of `text` that begins a stop string."""
    return max((_overlap(text, stop) for stop in stops), default=0)


def _overlap(text: str, stop: str) -> int:
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)


def token_text(piece: bytes) -> str:
    """Return a token as JSON can carry it: bytes that are not UTF-8 in OpenAI's `bytes:\\x..` form."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)


def text_offsets(pieces: Iterable[bytes]) -> list[int]:
    """Return for each piece the index of its first character in the joined text."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    offsets: list[int] = []
    length = 0
    for piece in pieces:
        offsets.append(length)
        length += len(decoder.decode(piece))
    return offsets
