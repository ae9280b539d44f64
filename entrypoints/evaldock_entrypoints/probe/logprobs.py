"""The proof that an endpoint's log-probabilities are those of its model, each at its own token."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evaldock_entrypoints.contract.endpoint import route_url
from evaldock_entrypoints.contract.errors import EndpointError
from evaldock_entrypoints.probe.exchange import Json, Probe
from evaldock_entrypoints.probe.questions import KNOWN_CONTEXT, Answer, as_object, ask_text, is_number

KNOWN_ANSWER, KNOWN_OTHER = " Paris", " London"
_SAME_TOKEN_NATS = 0.75  # batch composition and quantised activations move a log-probability by up to 0.15


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Log-probabilities of the right and of the wrong continuation, and the last answer."""

    right: float
    wrong: float
    answer: Answer


def prove_logprobs(probe: Probe) -> Proof:
    """Score two continuations of a known sentence; raises NotReadyError or EndpointError."""
    right = _score(probe, KNOWN_ANSWER)
    wrong = _score(probe, KNOWN_OTHER)
    if right == wrong:
        raise _untruthful(probe, "the log-probabilities are constant")
    if not right > wrong:
        raise _untruthful(
            probe,
            f'the log-probabilities are wrong: after "{KNOWN_CONTEXT}", "{KNOWN_ANSWER}" gets {right:.2f} '
            f'and "{KNOWN_OTHER}" {wrong:.2f}; they may be shifted by one token',
        )
    answer = _ask(probe, {"prompt": KNOWN_CONTEXT, "logprobs": 5, "max_tokens": 1})
    generated = _next_token_logprob(answer)
    if generated is not None and abs(generated - right) > _SAME_TOKEN_NATS:
        raise _untruthful(
            probe,
            f'"{KNOWN_ANSWER}" gets log-probability {right:.2f} as a prompt token and {generated:.2f} as a '
            "generated one; prompt log-probabilities are shifted or belong to another model",
        )
    return Proof(right=right, wrong=wrong, answer=answer)


def _score(probe: Probe, continuation: str) -> float:
    """Return the sum of the log-probabilities of the continuation's tokens, as an echo request gives them."""
    prompt = KNOWN_CONTEXT + continuation
    answer = _ask(probe, {"prompt": prompt, "echo": True, "logprobs": 1, "max_tokens": 1})
    values, offsets = _echoed(probe, as_object(answer.choice.get("logprobs")))
    if values[0] is not None:
        raise _untruthful(probe, "the first prompt token has a log-probability, which nothing precedes")
    start, end = len(KNOWN_CONTEXT), len(prompt)
    scored = [value for value, offset in zip(values, offsets, strict=True) if start <= offset < end]
    if not scored or not all(is_number(value) for value in scored):
        raise _untruthful(probe, "the log-probabilities of the prompt's last tokens are missing")
    return math.fsum(scored)


def _echoed(probe: Probe, logprobs: Json) -> tuple[list[Any], list[int]]:
    """Return value and offset of each token of an echo answer; raises EndpointError where they lack."""
    tokens, values, offsets = (logprobs.get(name) for name in ("tokens", "token_logprobs", "text_offset"))
    if not (isinstance(tokens, list) and isinstance(values, list) and tokens):
        raise _untruthful(probe, "an echo request gives no log-probabilities of the prompt")
    if not isinstance(offsets, list) or not len(tokens) == len(values) == len(offsets):
        raise _untruthful(probe, "tokens, log-probabilities and text_offset of an echo request do not match")
    if not all(is_number(offset) for offset in offsets):
        raise _untruthful(probe, "text_offset of an echo request holds no numbers")
    return values, offsets


def _next_token_logprob(answer: Answer) -> float | None:
    """Return the log-probability of the known answer among the next token's alternatives, if it is there."""
    tops = as_object(answer.choice.get("logprobs")).get("top_logprobs")
    value = as_object(tops[0]).get(KNOWN_ANSWER) if isinstance(tops, list) and tops else None
    return float(value) if isinstance(value, int | float) else None


def _ask(probe: Probe, body: Mapping[str, Any]) -> Answer:
    return ask_text(probe, "completions_logprob", {"temperature": 0.0, **body})


def _untruthful(probe: Probe, finding: str) -> EndpointError:
    url = route_url(probe.endpoint.base_url, "completions_logprob")
    return EndpointError(
        finding,
        where=f"{url}  model {probe.endpoint.model_id}",
        next_step="use a server whose prompt log-probabilities are right, or a task that generates text",
    )
