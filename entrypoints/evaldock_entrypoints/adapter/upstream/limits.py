"""How many requests an endpoint is asked at a time."""

import math
from typing import Protocol

_SHRINK = 0.8
_FIRST_ADAPTIVE = 4.0
_FEWEST_COUNTED = 16
_CLIMB_SHARE = 0.6  # of the throughput that as much more concurrency would bring an engine with room
_UP_SHARE = 0.5
_DOWN_SHARE = 0.25
_UP, _DOWN = 1.125, 0.875
_RESTS = 3  # windows between two trials


class Limit(Protocol):
    """A number that answers move. Times are in seconds on one monotonic clock."""

    value: float

    def answered(self, *, sent_at: float, now: float, in_flight: int) -> None:
        """Note a good answer; in_flight counts it."""

    def refused(self, *, sent_at: float, now: float, in_flight: int) -> None:
        """Note that the endpoint says that it is too much (429), or that no descriptor is left."""


class YieldingLimit:
    """As much as is allowed, until the endpoint refuses: 0.8 of it then, one more for each `value` answers.

    Of the requests sent before it last yielded none makes it yield again: once per round trip.
    """

    def __init__(self, ceiling: float) -> None:
        self.value = self._ceiling = ceiling
        self._yielded_at = -math.inf
        self._answers = 0

    def answered(self, *, sent_at: float, now: float, in_flight: int) -> None:  # noqa: ARG002
        if self.value >= self._ceiling:
            return
        self._answers += 1
        if self._answers >= self.value:
            self._answers = 0
            self.value = min(self.value + 1, self._ceiling)

    def refused(self, *, sent_at: float, now: float, in_flight: int) -> None:
        if sent_at < self._yielded_at:
            return
        self._yielded_at = now
        self._answers = 0
        self.value = max(1.0, math.floor(min(self.value, in_flight) * _SHRINK))


class AdaptiveLimit:
    """Finds how many requests fill the engine, and follows it when that changes.

    A window is `value` answers (16 at least) while requests are waiting, after the same number were let by
    for the engine to settle. With all places taken, throughput is value / mean latency (Little's law).
    - Climbing: from 4, doubled as long as a doubling brings at least 1.6 times the throughput (in general
      1 + 0.6 x the share added). When it does not, latency has begun to grow instead: the engine is full.
      The new value is then what the engine works on at a time: throughput x the latency at the value before,
      between both values.
    - Holding: each fourth window tries an eighth more, or an eighth less, in turn. More is kept if it brings
      half of its share in throughput; less is kept if it loses less than a quarter of its share.
    - A refusal (429) takes it to 0.8 of what is in flight, once per round trip, and ends the climb.
    Without requests waiting nothing is learnt, and the value stays.
    """

    def __init__(self, ceiling: float) -> None:
        self._ceiling = ceiling
        self.value = min(_FIRST_ADAPTIVE, ceiling)
        self._changed_at = -math.inf
        self._climbed_from: tuple[float, float] | None = None  # value and latency of the step below
        self._is_climbing = True
        self._held: tuple[float, float] | None = None  # what a trial is compared with: value, latency
        self._windows = 0
        self._restart()

    def answered(self, *, sent_at: float, now: float, in_flight: int) -> None:
        if sent_at < self._changed_at:
            return
        if in_flight < self.value:  # places are free: latency says nothing of a full engine
            self._restart()
            return
        needed = max(_FEWEST_COUNTED, math.ceil(self.value))
        self._seen += 1
        if self._seen <= needed:
            return
        self._latency_s += now - sent_at
        if self._seen >= 2 * needed:
            self._judge(self._latency_s / (self._seen - needed), now)
            self._restart()

    def refused(self, *, sent_at: float, now: float, in_flight: int) -> None:
        if sent_at < self._changed_at:
            return
        self._is_climbing, self._held = False, None
        self._set(math.floor(min(self.value, in_flight) * _SHRINK), now)

    def _restart(self) -> None:
        self._seen = 0
        self._latency_s = 0.0

    def _set(self, value: float, now: float) -> None:
        self.value = max(1.0, min(value, self._ceiling))
        self._changed_at = now
        self._restart()

    def _judge(self, latency_s: float, now: float) -> None:
        if self._is_climbing:
            self._climb(latency_s, now)
        elif self._held is not None:
            self._settle_trial(latency_s, now)
        else:
            self._windows += 1
            if self._windows % (_RESTS + 1) == 0:
                self._try(latency_s, now)

    def _climb(self, latency_s: float, now: float) -> None:
        below = self._climbed_from
        if below is None or _gain(below, (self.value, latency_s)) >= _due(below[0], self.value, _CLIMB_SHARE):
            self._climbed_from = (self.value, latency_s)
            self._is_climbing = self.value < self._ceiling
            self._set(self.value * 2, now)
            return
        self._is_climbing = False
        at_work = self.value / latency_s * below[1]
        self._set(min(max(round(at_work), below[0]), self.value), now)

    def _try(self, latency_s: float, now: float) -> None:
        is_up = self._windows % (2 * (_RESTS + 1)) == 0
        trial = math.ceil(self.value * _UP) if is_up else math.floor(self.value * _DOWN)
        if 1 <= trial <= self._ceiling:
            self._held = (self.value, latency_s)
            self._set(trial, now)

    def _settle_trial(self, latency_s: float, now: float) -> None:
        assert self._held is not None
        held, self._held = self._held, None
        share = _UP_SHARE if self.value > held[0] else _DOWN_SHARE
        if _gain(held, (self.value, latency_s)) < _due(held[0], self.value, share):
            self._set(held[0], now)


def _gain(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Return the ratio of throughputs of two (value, latency)."""
    return (after[0] / after[1]) / (before[0] / before[1])


def _due(before: float, after: float, share: float) -> float:
    """Return the ratio of throughputs that a change of the value must reach."""
    return 1 + share * (after / before - 1)
