"""A failed attempt, and the reply that a harness gets of a failure nothing more is done about."""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from evaldock_entrypoints.adapter.upstream.reply import FailureKind, Reply

_HEADERS: Mapping[str, str] = {"content-type": "application/json", "x-should-retry": "false"}
TOO_MANY = 429


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why one attempt gave no answer, and what that means for the next one."""

    kind: FailureKind
    message: str
    status: int  # for the harness; the endpoint's own where it gave one
    body: bytes = b""  # the endpoint's own error, where it is JSON; secrets replaced
    is_retriable: bool = True
    wait_s: float | None = None  # the endpoint asks for this pause
    is_unreached: bool = False  # there was no connection to send the request over
    is_dropped: bool = False  # the connection ended before the answer began
    is_local: bool = False  # this machine's fault, not the endpoint's: no descriptor left
    sunk: bool = False

    @property
    def is_answer(self) -> bool:
        """Tell whether somebody answered, whatever it was."""
        return self.kind in ("status", "invalid", "cut", "idle")

    @property
    def blames_body(self) -> bool:
        """Tell whether the request itself may be what the endpoint cannot digest."""
        return self.kind in ("invalid", "cut") or (self.kind == "status" and self.status >= 500)

    @property
    def blames_replica(self) -> bool:
        """Tell whether another replica may do better."""
        return not self.is_local and (self.blames_body or self.kind in ("connect", "timeout", "idle"))


def reply_of(failure: Failure, *, started_at: float, latency_ms: float, attempts: int) -> Reply:
    """Return what the harness gets: an error as OpenAI spells them, which clients do not ask again."""
    return Reply(
        status=failure.status,
        headers=_HEADERS,
        body=failure.body or _error_body(failure),
        started_at=started_at,
        latency_ms=latency_ms,
        attempts=attempts,
        kind=failure.kind,
        message=failure.message,
        sunk=failure.sunk,
    )


def _error_body(failure: Failure) -> bytes:
    error = {"message": failure.message, "type": "upstream_error", "param": None, "code": failure.kind}
    return orjson.dumps({"error": error})
