"""How long to pause before the next attempt."""

import random
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

BASE_S = 0.5
LONGEST_S = 30.0
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_SKEW_S = 2.0  # a clock that differs by more is set wrong, here or there


def backoff_s(retries: int, *, longest_s: float = LONGEST_S) -> float:
    """Return a pause with full jitter after so many retries.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return random.uniform(0.0, min(longest_s, BASE_S * 2.0 ** min(retries, 16)))


def obeying_s(asked_s: float) -> float:
    """Return a pause not shorter than asked, and up to a tenth longer: not all come back at once."""
    return asked_s * random.uniform(1.0, 1.1)


def asked_pause_s(headers: Mapping[str, str], now: float) -> float | None:
    """Return the pause that an answer asks for, None where it asks for none or says nothing sensible.

    now: seconds since 1970. RFC 9110, section 10.2.3; retry-after-ms is Azure's and OpenAI's.
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000 or None
    value = headers.get("retry-after")
    if (seconds := _number(value)) is not None:
        return seconds or None
    until = _seconds(value)
    if until is None:
        return None
    their_now = _seconds(headers.get("date"))
    is_skewed = their_now is not None and abs(their_now - now) > _SKEW_S
    left = until - (their_now if is_skewed and their_now is not None else now)
    return left if left > 0 else None


def _number(value: str | None) -> float | None:
    found = _NUMBER.fullmatch((value or "").strip())
    return float(found[0]) if found else None


def _seconds(value: str | None) -> float | None:
    try:
        return parsedate_to_datetime(value).timestamp() if value else None
    except (ValueError, OverflowError):
        return None
