"""Looking into findings."""

from collections.abc import Iterable

from evaldock.diagnosis.finding import Finding


def named(findings: Iterable[Finding], what: str) -> Finding:
    """Return the one finding of this name."""
    (found,) = [finding for finding in findings if finding.what == what]
    return found
