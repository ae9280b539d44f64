"""When an attempt may be made again, and how long to wait before it."""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

BACKOFF_BASE_S = 0.5
BACKOFF_CAP_S = 30.0
RETRY_AFTER_CAP_S = 120.0
RETRYABLE_STATUSES = frozenset({408, 409, 425, 429})


def is_retryable(status: int) -> bool:
    """Tell whether the same request may succeed later."""
    return status in RETRYABLE_STATUSES or status >= 500


def retry_after_s(header: str | None) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110, section 10.2.3), None where it says nothing."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def backoff_s(retries: int, retry_after: float | None, rng: random.Random) -> float:
    """Return the wait before the next attempt: full jitter over an exponential bound, after Retry-After.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    jitter = rng.uniform(0, min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2**retries))
    return min(retry_after or 0.0, RETRY_AFTER_CAP_S) + jitter
