"""How many requests an endpoint is asked at a time."""

import math
from dataclasses import dataclass
from typing import Protocol

_SHRINK = 0.8
_FIRST_ADAPTIVE = 8.0
_FEWEST_COUNTED = 16
_CLIMB_SHARE = 0.6  # of the throughput that as much more concurrency would bring an engine with room
_UP_SHARE = 0.5
_DOWN_SHARE = 0.15
_FIRST_STEP = 0.125
_LONGEST_UP, _LONGEST_DOWN = 1.0, 0.5
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

    A window is `value` answers (16 at least) while requests are waiting, after twice as many were let by for
    the engine to settle. With all places taken, throughput is value / mean latency (Little's law).
    - Climbing: from 8, doubled as long as a doubling brings at least 1.6 times the throughput (in general
      1 + 0.6 x the share added). When it does not, latency has begun to grow instead: the engine is full.
      The new value is then what the engine works on at a time: throughput x the latency at the value before,
      between both values.
    - Holding: each fourth window tries an eighth more, or an eighth less, in turn. More is kept if it brings
      half of its share in throughput; less is kept if it loses less than 0.15 of its share. What is kept is
      tried again at once with twice the step.
    - A refusal (429) takes it to 0.8 of what is in flight, once per round trip, and ends the climb.
    Without requests waiting nothing is learnt, and the value stays.
    """

    def __init__(self, ceiling: float) -> None:
        self._ceiling = ceiling
        self.value = min(_FIRST_ADAPTIVE, ceiling)
        self._changed_at = -math.inf
        self._is_climbing = True
        self._below: _Measured | None = None  # the step before, in the climb
        self._held: _Measured | None = None  # what a trial is compared with
        self._windows = 0
        self._step = _FIRST_STEP
        self._goes_up = False
        self._restart()

    def answered(self, *, sent_at: float, now: float, in_flight: int) -> None:
        if sent_at < self._changed_at:
            return
        if in_flight < self.value:  # places are free: latency says nothing of a full engine
            self._restart()
            return
        needed = max(_FEWEST_COUNTED, math.ceil(self.value))
        self._seen += 1
        if self._seen <= 2 * needed:
            return
        self._latency_s += now - sent_at
        if self._seen >= 3 * needed:
            self._judge(_Measured(value=self.value, latency_s=self._latency_s / needed), now)

    def refused(self, *, sent_at: float, now: float, in_flight: int) -> None:
        if sent_at >= self._changed_at:
            self._is_climbing, self._held = False, None
            self._set(math.floor(min(self.value, in_flight) * _SHRINK), now)

    def _restart(self) -> None:
        self._seen = 0
        self._latency_s = 0.0

    def _set(self, value: float, now: float) -> None:
        self.value = max(1.0, min(value, self._ceiling))
        self._changed_at = now
        self._restart()

    def _judge(self, measured: "_Measured", now: float) -> None:
        self._restart()
        if self._is_climbing:
            self._climb(measured, now)
        elif self._held is not None:
            self._settle_trial(self._held, measured, now)
        else:
            self._windows += 1
            if self._windows % (_RESTS + 1) == 0:
                self._goes_up = not self._goes_up
                self._try(measured, now)

    def _climb(self, measured: "_Measured", now: float) -> None:
        below = self._below
        if below is None or measured.beats(below, _CLIMB_SHARE):
            self._below = measured
            self._is_climbing = self.value < self._ceiling
            self._set(self.value * 2, now)
            return
        self._is_climbing = False
        at_work = round(measured.per_s * below.latency_s)
        self._set(min(max(at_work, below.value), self.value), now)

    def _try(self, measured: "_Measured", now: float) -> None:
        by = self.value * self._step
        value = math.ceil(self.value + by) if self._goes_up else math.floor(self.value - by)
        value = max(1, min(value, math.floor(self._ceiling)))
        self._held = measured if value != self.value else None
        if self._held:
            self._set(value, now)

    def _settle_trial(self, held: "_Measured", measured: "_Measured", now: float) -> None:
        self._held = None
        if measured.beats(held, _UP_SHARE if self._goes_up else _DOWN_SHARE):
            self._step = min(2 * self._step, _LONGEST_UP if self._goes_up else _LONGEST_DOWN)
            self._try(measured, now)
            return
        self._step = _FIRST_STEP
        self._set(held.value, now)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    """One window: how many requests were out, and how long each took."""

    value: float
    latency_s: float

    @property
    def per_s(self) -> float:
        return self.value / self.latency_s

    def beats(self, other: "_Measured", share: float) -> bool:
        """Tell whether throughput changed by at least this share of the change in requests."""
        return self.per_s / other.per_s >= 1 + share * (self.value / other.value - 1)
