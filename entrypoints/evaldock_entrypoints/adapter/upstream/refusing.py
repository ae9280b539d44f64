"""What a status other than 2xx means: final, or worth another attempt, and when."""

import time
from collections.abc import Mapping
from typing import Any

from evaldock_entrypoints.adapter.redaction import Redaction
from evaldock_entrypoints.adapter.upstream.backoff import asked_pause_s
from evaldock_entrypoints.adapter.upstream.failure import Failure
from evaldock_entrypoints.adapter.upstream.judging import tree_of

_RETRIABLE = frozenset({408, 409, 425, 429})
_BAD_GATEWAY = 502
_SHOWN = 500


def refused(status: int, headers: Mapping[str, str], body: bytes, redact: Redaction) -> Failure:
    """Return the failure that a status tells. headers: looked up without regard to case."""
    if status < 400:
        place = headers.get("location", "an address it does not name")
        message = redact.text(f"status {status}: the endpoint redirects to {place}, which is not followed")
        return Failure(kind="status", message=message, status=_BAD_GATEWAY, is_retriable=False)
    tree = _object(body)
    return Failure(
        kind="status",
        message=redact.text(f"status {status}: {_words(tree, body)}"),
        status=status,
        body=redact.error_body(body) if tree else b"",
        is_retriable=_is_retriable(status, headers.get("x-should-retry", "")),
        wait_s=asked_pause_s(headers, time.time()),
    )


def _is_retriable(status: int, said: str) -> bool:
    if said in ("true", "false"):
        return said == "true"
    return status >= 500 or status in _RETRIABLE


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        tree = tree_of(body)
    except (ValueError, RecursionError):
        return None
    return tree if isinstance(tree, dict) and tree else None


def _words(tree: dict[str, Any] | None, body: bytes) -> str:
    """Return what an error says: of {"error": {"message": …}} and its kin the message alone."""
    said: Any = tree
    while isinstance(said, dict):
        said = next((said[name] for name in ("error", "message", "detail") if said.get(name)), None)
    text = said if isinstance(said, str) else body.decode(errors="replace")
    return text.strip()[:_SHOWN] or "no further word"
