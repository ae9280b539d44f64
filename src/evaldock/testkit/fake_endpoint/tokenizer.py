"""A reversible tokenizer without a vocabulary file: an id *is* the token's bytes.

Text is split into words (with their leading space), single digits and single marks, and each piece into
runs of whole characters of at most four UTF-8 bytes. A run of n bytes has the id

    OFFSETS[n] + int.from_bytes(run, "big")

and three special tokens take ids 0 to 2, so every list of ids maps back to exactly one byte string.
"""

import re
from functools import lru_cache

END_OF_TEXT = "<|endoftext|>"
START_OF_TEXT = "<|startoftext|>"
PADDING = "<|padding|>"
SPECIAL_TOKENS = (END_OF_TEXT, START_OF_TEXT, PADDING)

MAX_TOKEN_BYTES = 4
# Ids of one-byte tokens start after the specials, those of two-byte tokens after them, and so on.
_OFFSETS = (0, 3, 3 + 2**8, 3 + 2**8 + 2**16, 3 + 2**8 + 2**16 + 2**24, 3 + 2**8 + 2**16 + 2**24 + 2**32)
VOCAB_SIZE = _OFFSETS[-1]

_SPECIALS = "|".join(map(re.escape, SPECIAL_TOKENS))
_PIECES = re.compile(_SPECIALS + r"| ?[^\W\d_]+| ?\d| ?[^\w\s]|_+|\s|.", re.DOTALL)


def encode(text: str) -> list[int]:
    """Token ids of `text`; special tokens written out in the text become their own ids."""
    ids: list[int] = []
    for piece in _PIECES.findall(text):
        ids.extend(_encode_piece(piece))
    return ids


@lru_cache(maxsize=65536)
def token_bytes(token_id: int) -> bytes:
    """The bytes behind one id. Raises ValueError for an id outside the vocabulary."""
    if 0 <= token_id < len(SPECIAL_TOKENS):
        return SPECIAL_TOKENS[token_id].encode()
    for size in range(1, MAX_TOKEN_BYTES + 1):
        if _OFFSETS[size] <= token_id < _OFFSETS[size + 1]:
            return (token_id - _OFFSETS[size]).to_bytes(size, "big")
    raise ValueError(f"token id {token_id} is outside the vocabulary (0 to {VOCAB_SIZE - 1})")


def token_text(token_id: int) -> str:
    """The token as servers print it: its text, or `bytes:\\xNN…` when it is no whole character."""
    raw = token_bytes(token_id)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def decode(ids: list[int]) -> str:
    """The text of `ids`; bytes that are no UTF-8 become U+FFFD. Raises ValueError for unknown ids."""
    return b"".join(map(token_bytes, ids)).decode(errors="replace")


@lru_cache(maxsize=65536)
def _encode_piece(piece: str) -> tuple[int, ...]:
    if piece in SPECIAL_TOKENS:
        return (SPECIAL_TOKENS.index(piece),)
    return tuple(_OFFSETS[len(run)] + int.from_bytes(run, "big") for run in _runs(piece))


def _runs(piece: str) -> list[bytes]:
    runs = [b""]
    for character in piece:
        # "replace" guards against lone surrogates, which have no UTF-8 form.
        encoded = character.encode(errors="replace")
        if len(runs[-1]) + len(encoded) > MAX_TOKEN_BYTES:
            runs.append(b"")
        runs[-1] += encoded
    return runs
