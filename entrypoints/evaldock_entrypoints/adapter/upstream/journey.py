"""One request on its way through its attempts, and whether there is another one."""

import time
from dataclasses import dataclass, field, replace

from evaldock_entrypoints.adapter.upstream.backoff import backoff_s, obeying_s
from evaldock_entrypoints.adapter.upstream.failure import Failure
from evaldock_entrypoints.adapter.upstream.remembering import TIMES, Hopeless
from evaldock_entrypoints.adapter.upstream.replicas import Replica
from evaldock_entrypoints.adapter.upstream.reply import Asking, Sink
from evaldock_entrypoints.adapter.upstream.terms import Terms

_FREE_RETRIES = 100  # of a run, whatever its budget per request
_LONGEST_ABSENCE_PAUSE_S = 5.0
_SHORTEST_ATTEMPT_S = 0.05


@dataclass(kw_only=True, slots=True, eq=False)
class Journey:
    """A request so far. began: monotonic; moved on by time that does not count."""

    asking: Asking
    terms: Terms
    sink: Sink | None
    began: float
    started_at: float  # seconds since 1970
    estimate: float  # tokens
    sent_at: float = 0.0  # of the last attempt, monotonic
    attempts: int = 0
    retries: int = 0  # those that count
    absences: int = 0  # attempts in a row that found nobody
    absent_since: float | None = None
    was_dropped: bool = False
    tried: set[Replica] = field(default_factory=set)

    @property
    def timeout_s(self) -> float:
        """How long the next attempt may take."""
        longest_s = min(self.terms.attempt_timeout_s, self.terms.total_timeout_s)
        if not self.attempts:
            return longest_s
        return max(min(longest_s, self.terms.total_timeout_s - self.spent_s), _SHORTEST_ATTEMPT_S)

    @property
    def spent_s(self) -> float:
        return time.monotonic() - self.began


class Retrying:
    """Decides what becomes of failures. retries: so many were made in the run."""

    def __init__(self, *, budget_per_request: float, readiness_timeout_s: float) -> None:
        self.requests = 0
        self.retries = 0
        self.hopeless = Hopeless()
        self._budget_per_request = budget_per_request
        self._readiness_timeout_s = readiness_timeout_s

    def pause_s(self, failure: Failure, journey: Journey, *, has_other: bool) -> float | Failure:
        """Return the pause before the next attempt, or the failure that is final.

        has_other: a replica is up that was not tried yet; it is asked at once.
        """
        if failure.sunk or not failure.is_retriable:
            return failure
        if self.hopeless.note(journey.asking.digest, failure):
            return replace(failure, message=f"{failure.message} (failed {TIMES} times; not asked again)")
        if failure.is_unreached:
            return 0.0 if has_other else self._until_present(failure, journey)
        self._end_absence(journey)
        if failure.is_dropped and not journey.was_dropped:
            journey.was_dropped = True  # a kept connection that the endpoint closed as we wrote to it
            return 0.0
        return self._counted(failure, journey, is_elsewhere=has_other and failure.blames_replica)

    def _counted(self, failure: Failure, journey: Journey, *, is_elsewhere: bool) -> float | Failure:
        if not failure.is_local:
            if journey.retries >= journey.terms.max_retries:
                return failure
            if self.retries >= _FREE_RETRIES + self._budget_per_request * self.requests:
                message = (
                    f"the retries of the whole run are used up ({self.retries}); last: {failure.message}"
                )
                return replace(failure, kind="budget", message=message)
        pause_s = 0.0 if is_elsewhere else self._pause_s(failure, journey.retries)
        if journey.spent_s + pause_s >= journey.terms.total_timeout_s:
            return replace(failure, message=f"{failure.message} (no time left for another attempt)")
        journey.retries += 1
        self.retries += 1
        return pause_s

    def _pause_s(self, failure: Failure, retries: int) -> float:
        return backoff_s(retries) if failure.wait_s is None else obeying_s(failure.wait_s)

    def _until_present(self, failure: Failure, journey: Journey) -> float | Failure:
        """Nobody answers: how often is asked does not count, only how long."""
        longest_s = max(journey.terms.total_timeout_s, self._readiness_timeout_s)
        left_s = longest_s - journey.spent_s
        if left_s <= _SHORTEST_ATTEMPT_S:
            return replace(failure, message=f"{failure.message} for {longest_s:g} s")
        if journey.absent_since is None:
            journey.absent_since = journey.sent_at
        journey.absences += 1
        return min(backoff_s(journey.absences, longest_s=_LONGEST_ABSENCE_PAUSE_S), left_s)

    def _end_absence(self, journey: Journey) -> None:
        """Take the time an endpoint needed to come up, as far as it was granted, out of the total."""
        if journey.absent_since is not None:
            absent_s = journey.sent_at - journey.absent_since
            journey.began += min(absent_s, self._readiness_timeout_s)
            journey.absent_since, journey.absences = None, 0
