"""The clock: sane, and not far from those of the servers and the engine."""

import time
from collections.abc import Iterator

from evaldock.diagnosis.facts import Facts
from evaldock.diagnosis.finding import Finding, lack, ok
from evaldock.supply.buildah import SOURCE_DATE_EPOCH

_SKEW_S = 60.0
_FIX = "timedatectl set-ntp true, or: date --utc --set='YYYY-MM-DD HH:MM'"


def findings(facts: Facts) -> Iterator[Finding]:
    """Compare with the past, with the servers asked, and with the engine."""
    yield sane(time.time())
    ahead = [contact.ahead_s for contact in facts.contacts or () if contact.ahead_s is not None]
    if ahead:
        # One server's clock may be wrong itself: the nearest one counts.
        yield skew("clock against the servers", min(ahead, key=abs))
    if facts.engine and facts.engine.ahead_s is not None:
        yield skew("clock against the engine", facts.engine.ahead_s)


def sane(now_s: float) -> Finding:
    """Return whether the clock is later than this release; else certificates and packages look wrong."""
    found = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now_s))
    return ok("clock", found) if now_s > SOURCE_DATE_EPOCH else lack("clock", f"{found}, long ago", _FIX)


def skew(what: str, ahead_s: float) -> Finding:
    """Return whether another clock shows about the same time."""
    if abs(ahead_s) <= _SKEW_S:
        return ok(what, "less than a minute apart")
    place = "behind" if ahead_s > 0 else "ahead"
    return lack(what, f"ours is {abs(ahead_s) / 60:.0f} minutes {place}", _FIX)
