"""Facts from a request and its reply: what completeness and metrics are made of."""

from collections.abc import Mapping
from typing import Any

from evaldock_entrypoints.adapter.call import Call
from evaldock_entrypoints.adapter.interceptors.shapes import choices_of
from evaldock_entrypoints.adapter.upstream.reply import Reply
from evaldock_entrypoints.exchanges.facts import Facts

TRUNCATED = frozenset({"length", "max_tokens", "model_length", "max_output_tokens"})
_FILTERED = "content_filter"
_LIMITS = ("max_tokens", "max_completion_tokens")


def facts_of(call: Call, reply: Reply) -> Facts:
    """Return the truth signals of an exchange, a failure's too."""
    if reply.kind is not None:
        return Facts(
            started_at=reply.started_at,
            latency_ms=reply.latency_ms,
            attempts=reply.attempts,
            is_generation=False,
            error=reply.kind,
            message=reply.message,
        )
    tree = reply.tree or {}
    choices = choices_of(tree)
    usage = _mapping(tree.get("usage"))
    details = _mapping(usage.get("completion_tokens_details"))
    reasons = tuple(reason for choice in choices if isinstance(reason := choice.get("finish_reason"), str))
    return Facts(
        started_at=reply.started_at,
        latency_ms=reply.latency_ms,
        ttft_ms=reply.ttft_ms,
        attempts=reply.attempts,
        is_generation=is_generation(call),
        choices=len(choices),
        finish_reasons=reasons,
        empty=sum(map(_is_empty, choices)),
        refused=sum(map(_is_refused, choices)),
        truncated=sum(reason in TRUNCATED for reason in reasons),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        reasoning_tokens=_count(details.get("reasoning_tokens")),
        served_model=model if isinstance(model := tree.get("model"), str) else None,
    )


def is_generation(call: Call) -> bool:
    """Tell whether new text is asked for; one token beside log-probabilities is a score of given text."""
    if call.kind not in ("chat", "completions"):
        return False
    tree = call.body.tree or {}
    limits = [tree[name] for name in _LIMITS if isinstance(tree.get(name), int)]
    return not limits or min(limits) > 1


def _is_empty(choice: Mapping[str, Any]) -> bool:
    message = _mapping(choice.get("message"))
    if message.get("tool_calls") or message.get("function_call") or message.get("audio"):
        return False
    text = message.get("content") if message else choice.get("text")
    return not (text.strip() if isinstance(text, str) else text)


def _is_refused(choice: Mapping[str, Any]) -> bool:
    return bool(_mapping(choice.get("message")).get("refusal")) or choice.get("finish_reason") == _FILTERED


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
