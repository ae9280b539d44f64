"""Requests and tokens per minute: who comes when the minute's share is used up waits for the next."""

import time
from collections.abc import Mapping
from typing import Any

import orjson

from evaldock_entrypoints.adapter.upstream.reply import Asking

_BURST_S = 1.0  # what nobody used is kept for so long
_BYTES_PER_TOKEN = 4
_UNSTATED_TOKENS = 512  # an answer whose longest length the request does not say
_MINUTE_S = 60.0


class Bucket:
    """A flow of so much per minute. Whoever takes gets a time to start at, in the order they come."""

    def __init__(self, per_minute: float) -> None:
        self._per_s = per_minute / _MINUTE_S
        self._free_at = 0.0  # on the clock of monotonic: when all that was taken has flowed in

    def take(self, amount: float) -> float:
        """Return the seconds to wait before using the amount."""
        now = time.monotonic()
        start = max(self._free_at, now - _BURST_S)
        self._free_at = start + amount / self._per_s
        return max(0.0, start - now)

    def correct(self, amount: float) -> None:
        """Note that so much more was used than was taken; negative: less."""
        self._free_at += amount / self._per_s


class Pace:
    """Both flows of one endpoint."""

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._requests = Bucket(requests_per_minute) if requests_per_minute else None
        self._tokens = Bucket(tokens_per_minute) if tokens_per_minute else None
        self.is_free = self._requests is None and self._tokens is None

    def wait_s(self, estimate: float) -> float:
        """Return how long a request of about so many tokens must wait; it counts as made."""
        waits = [self._requests.take(1)] if self._requests else []
        waits += [self._tokens.take(estimate)] if self._tokens else []
        return max(waits, default=0.0)

    def give_back(self, estimate: float) -> None:
        """Take a request back that was not made."""
        if self._requests:
            self._requests.correct(-1)
        if self._tokens:
            self._tokens.correct(-estimate)

    def estimate(self, asking: Asking) -> float:
        """Return about how many tokens a request may use; 0 where they do not matter."""
        if self._tokens is None:
            return 0.0
        return len(asking.body) / _BYTES_PER_TOKEN + _longest_answer(asking.body)

    def used(self, tree: Mapping[str, Any] | None, estimate: float) -> None:
        """Correct an estimate by what the answer says."""
        usage = (tree or {}).get("usage")
        total = usage.get("total_tokens") if isinstance(usage, dict) else None
        if self._tokens and isinstance(total, int):
            self._tokens.correct(total - estimate)


def _longest_answer(body: bytes) -> float:
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _UNSTATED_TOKENS
    if not isinstance(tree, dict):
        return _UNSTATED_TOKENS
    stated = (tree.get("max_completion_tokens"), tree.get("max_tokens"))
    longest = next((value for value in stated if isinstance(value, int)), _UNSTATED_TOKENS)
    choices = tree.get("n")
    return longest * (choices if isinstance(choices, int) else 1)
