"""The questions that a type of endpoint must answer."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evaldock_entrypoints.contract.endpoint import route_url
from evaldock_entrypoints.contract.errors import EndpointError
from evaldock_entrypoints.contract.framework import EndpointType
from evaldock_entrypoints.probe.exchange import OTHER_API, Json, Probe
from evaldock_entrypoints.probe.models import known_ids, refuse_other_model, unknown_model
from evaldock_entrypoints.probe.refusals import NoRouteError

KNOWN_CONTEXT = "The capital of France is"
_FEW_TOKENS = {"max_tokens": 4, "temperature": 0.0}

QUESTIONS: dict[EndpointType, Json] = {
    "chat": {"messages": [{"role": "user", "content": "Say yes."}], **_FEW_TOKENS},
    "completions": {"prompt": KNOWN_CONTEXT, **_FEW_TOKENS},
    "completions_logprob": {"prompt": KNOWN_CONTEXT, **_FEW_TOKENS},
    "embedding": {"input": "yes"},
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a server answered; text is None where it holds none, and choice is empty for embeddings."""

    raw: Json
    choice: Json
    text: str | None
    finish_reason: str | None
    usage: Json | None
    model: str | None
    latency_ms: float


def ask(probe: Probe, endpoint_type: EndpointType, body: Mapping[str, Any]) -> Answer:
    """Ask the type's route as the endpoint's model; raises NotReadyError or EndpointError."""
    url = route_url(probe.endpoint.base_url, endpoint_type)
    begun = time.monotonic()
    try:
        raw = probe.post(url, {"model": probe.endpoint.model_id, **body})
    except NoRouteError as error:
        ids = known_ids(probe)
        raise (unknown_model(probe, ids) if _lacks_model(probe, ids, error) else error) from error
    answer = _read(raw, (time.monotonic() - begun) * 1000)
    refuse_other_model(probe, answer.model)
    return answer


def ask_text(probe: Probe, endpoint_type: EndpointType, body: Mapping[str, Any] | None = None) -> Answer:
    """Ask for a text, by default a known question; raises NotReadyError or EndpointError."""
    answer = ask(probe, endpoint_type, body or QUESTIONS[endpoint_type])
    if not answer.choice:
        url = route_url(probe.endpoint.base_url, endpoint_type)
        raise EndpointError("the endpoint's answer holds no choices", where=url, next_step=OTHER_API)
    return answer


def ask_embedding(probe: Probe) -> Answer:
    """Ask for the embedding of a word; raises NotReadyError or EndpointError."""
    answer = ask(probe, "embedding", QUESTIONS["embedding"])
    data = answer.raw.get("data")
    vector = (
        data[0].get("embedding") if isinstance(data, list) and data and isinstance(data[0], dict) else None
    )
    if not isinstance(vector, list) or not vector or not all(is_number(value) for value in vector):
        raise EndpointError(
            "the endpoint's answer holds no embedding",
            where=route_url(probe.endpoint.base_url, "embedding"),
            next_step=OTHER_API,
        )
    return answer


def is_number(value: object) -> bool:
    """Tell whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def as_object(value: object) -> Json:
    """Return the value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def _lacks_model(probe: Probe, ids: tuple[str, ...], error: NoRouteError) -> bool:
    """Tell whether the model is what is missing: it is not listed, or the server's words name it."""
    asked = probe.endpoint.model_id
    return asked not in ids if ids else asked in (error.where or "").partition(" answered ")[2]


def _read(raw: Json, latency_ms: float) -> Answer:
    choices = raw.get("choices")
    choice = as_object(choices[0]) if isinstance(choices, list) and choices else {}
    text = as_object(choice["message"]).get("content") if "message" in choice else choice.get("text")
    reason, model, usage = choice.get("finish_reason"), raw.get("model"), raw.get("usage")
    return Answer(
        raw=raw,
        choice=choice,
        text=text if isinstance(text, str) else None,
        finish_reason=reason if isinstance(reason, str) else None,
        usage=usage if isinstance(usage, dict) else None,
        model=model if isinstance(model, str) else None,
        latency_ms=latency_ms,
    )
