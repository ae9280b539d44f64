"""What one task grants each of its requests."""

from dataclasses import dataclass

from evaldock_entrypoints.contract.interceptors import EndpointPolicy


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """Bounds of one request. Time spent waiting for a turn (concurrency, per-minute limits) is in neither."""

    attempt_timeout_s: float  # from the first byte sent to the last one received
    max_retries: int  # attempts after the first one
    total_timeout_s: float  # all attempts, and the pauses between them


def terms_of(policy: EndpointPolicy, *, request_timeout_s: float, max_retries: int) -> Terms:
    """Return a task's terms; what the policy sets goes before the task's own parameters."""
    attempt_s = policy.attempt_timeout_s or request_timeout_s
    is_given = "total_timeout_s" in policy.model_fields_set
    return Terms(
        attempt_timeout_s=attempt_s,
        max_retries=max_retries if policy.max_retries is None else policy.max_retries,
        total_timeout_s=policy.total_timeout_s if is_given else max(policy.total_timeout_s, attempt_s),
    )
