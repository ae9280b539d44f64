"""What a survey of an endpoint found, for people and for programs."""

from dataclasses import dataclass
from typing import Any, Literal

from evaldock_entrypoints.contract.errors import EndpointError
from evaldock_entrypoints.contract.framework import EndpointType

Status = Literal["ok", "fail", "note"]
_LABELS: dict[Status, str] = {"ok": "ok", "fail": "FAIL", "note": "note"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at. A survey fails exactly when one of its findings does."""

    status: Status
    what: str
    found: str
    where: str | None = None
    next_step: str | None = None


@dataclass(frozen=True, kw_only=True)
class Survey:
    """All findings in the order of asking, and the types that the endpoint can be used as."""

    url: str
    model_id: str
    wanted: EndpointType | None
    findings: tuple[Finding, ...]
    usable_types: tuple[EndpointType, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.status == "fail")

    def as_tree(self) -> dict[str, Any]:
        """Return the survey for --json."""
        return {
            "url": self.url,
            "model_id": self.model_id or None,
            "type": self.wanted,
            "ok": not self.failed,
            "usable_types": list(self.usable_types),
            "findings": [
                {
                    "status": finding.status,
                    "what": finding.what,
                    "found": finding.found,
                    "where": finding.where,
                    "next": finding.next_step,
                }
                for finding in self.findings
            ],
        }

    def as_text(self) -> str:
        """Return the survey as a table."""
        width = max(len(finding.what) for finding in self.findings)
        lines = [f"{self.url}  model {self.model_id or 'not named'}"]
        for finding, following in zip(self.findings, (*self.findings[1:], None), strict=True):
            lines.append(f"{_LABELS[finding.status]:4}  {finding.what:{width}}  {finding.found}")
            if finding.next_step and (following is None or following.next_step != finding.next_step):
                lines.append(f"{'':{width + 6}}  next: {finding.next_step}")
        lines.append(f"can be used as: {', '.join(self.usable_types) or 'nothing'}")
        return "\n".join(lines)

    def error(self) -> EndpointError | None:
        """Return the error that the survey ends with, None where nothing failed."""
        if not self.failed:
            return None
        first, *others = self.failed
        more = f" (and {', '.join(finding.what for finding in others)})" if others else ""
        return EndpointError(
            f"{first.what}: {first.found}{more}", where=first.where or self.url, next_step=first.next_step
        )


def ok(what: str, found: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(status="ok", what=what, found=found)


def note(what: str, found: str, next_step: str | None = None) -> Finding:
    """Return a finding that fails nothing."""
    return Finding(status="note", what=what, found=found, next_step=next_step)


def against(what: str, error: EndpointError, *, fails: bool = True) -> Finding:
    """Return the finding that an error stands for."""
    return Finding(
        status="fail" if fails else "note",
        what=what,
        found=error.message,
        where=error.where,
        next_step=error.next_step,
    )
