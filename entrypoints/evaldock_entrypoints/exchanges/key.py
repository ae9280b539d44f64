"""The key of a request: a digest of its route and its body in canonical form."""

from functools import lru_cache
from hashlib import blake2b
from typing import Any

import orjson

DIGEST_BYTES = 16
_CACHED_ROUTES = 256
_DIGITS = bytes.maketrans(b"123456789.-E", b"00000000000e")
# A decimal of up to 15 digits is told from every other by the double next to it (IEEE 754, DBL_DIG).
_LONG_NUMBER = b"0" * 17  # with its point and its sign
_SMALL_NUMBER = b"e0000"  # -100 or less: a double of that size may have lost digits, or be zero


def digest_of(route: str, body: bytes, tree: Any = None) -> bytes:
    """Return the key of a request: equal for bodies that differ in the order of keys and in space only.

    Bodies that differ in anything else have different keys: where the canonical form could hide a
    difference (integers beyond 64 bit, long decimals, duplicate keys, what is no JSON), it is the bytes
    themselves that count. tree: what orjson made of the body, where that was parsed already.
    """
    canonical = _canonical(body, tree)
    seeded: blake2b = _seeded(route, canonical is not None).copy()
    seeded.update(body if canonical is None else canonical)
    return seeded.digest()


@lru_cache(maxsize=_CACHED_ROUTES)
def _seeded(route: str, is_canonical: bool) -> blake2b:
    """Return a digest that knows the route already; the two forms of a body never meet."""
    name = route.encode("utf-8", "surrogatepass")
    form = b"canonical" if is_canonical else b"as it is"
    return blake2b(b"%d:%b" % (len(name), name), digest_size=DIGEST_BYTES, person=form)


def _canonical(body: bytes, tree: Any) -> bytes | None:
    """Return compact JSON with sorted keys; None where that could say the same of two different bodies."""
    try:
        parsed = orjson.loads(body) if tree is None else tree
        canonical = orjson.dumps(parsed, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    return None if _has_duplicate_keys(body, canonical) or _has_inexact_numbers(body) else canonical


def _has_duplicate_keys(body: bytes, canonical: bytes) -> bool:
    """Tell whether the parser dropped a pair, and with it a colon; True also where colons are escaped."""
    if body.count(b":") != canonical.count(b":"):
        return True
    return b"\\" in body and b"\\u003" in body


def _has_inexact_numbers(body: bytes) -> bool:
    """Tell whether there may be a number that its double does not tell from its neighbours."""
    return _looks_inexact(body) and _looks_inexact(_outside_strings(body))


def _looks_inexact(text: bytes) -> bool:
    digits = text.translate(_DIGITS)
    return _LONG_NUMBER in digits or _SMALL_NUMBER in digits


def _outside_strings(body: bytes) -> bytes:
    """Return what of valid JSON stands outside its strings."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(body.split(b'"')[::2])
