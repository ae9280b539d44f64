"""Small numbers in place of digests, where a mix-up is caught later or does no harm."""

_ODD = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: spreads ordinals over all bits
_MASK = (1 << 60) - 1  # an integer of 60 bits takes 32 bytes in CPython, one of 61 takes 36


def fingerprint(digest: bytes, ordinal: int = 0) -> int:
    """Return 60 bits of a digest and an ordinal: among a million, two are alike once in two million runs."""
    return (int.from_bytes(digest[:8], "little") + ordinal * _ODD) & _MASK
