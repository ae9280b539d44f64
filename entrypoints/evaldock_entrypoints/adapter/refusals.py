"""What is said where an endpoint is not asked, or refuses access."""

import time

import orjson

from evaldock_entrypoints.adapter.upstream.reply import Asking, Reply
from evaldock_entrypoints.contract.errors import EndpointError


def not_in_store(asking: Asking) -> Reply:
    """Return the failure of a replay that misses an answer."""
    message = (
        f"the store holds no answer to this request ({asking.digest.hex()[:12]}), and nothing else is asked"
    )
    body = orjson.dumps({"error": {"message": message, "type": "evaldock_error", "code": "not_in_store"}})
    return Reply(
        status=502,
        headers={"content-type": "application/json", "x-should-retry": "false"},
        body=body,
        started_at=time.time(),
        attempts=0,
        kind="status",
        message=message,
    )


def refused_access(base_url: str, key_name: str | None, message: str) -> EndpointError:
    """Return what ends a run whose key is refused."""
    step = (
        f"put a valid key into the variable {key_name}"
        if key_name
        else "name the key's variable: api_key_name"
    )
    return EndpointError(f"the endpoint refuses access (401): {message}", where=base_url, next_step=step)
