"""The endpoint probe: reachable, authorised, right model, and truthful log-probabilities."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from evaldock_entrypoints.contract.endpoint import Endpoint, route_url
from evaldock_entrypoints.contract.errors import EndpointError, UsageError

KNOWN_CONTEXT = "The capital of France is"
KNOWN_ANSWER, KNOWN_OTHER = " Paris", " London"
_SAME_TOKEN_NATS = 0.75  # batch composition and quantised activations move a log-probability by up to 0.15
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.05, 2.0


class NotReadyError(EndpointError):
    """The endpoint may still come up: refused, reset, timed out, or answered 5xx."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """An endpoint under test; api_key is the key's value, if any."""

    endpoint: Endpoint
    api_key: str | None = None
    timeout_s: float = 60.0

    def post(self, url: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the JSON answer; raises NotReadyError or EndpointError."""
        return self._answer("POST", url, dict(body))

    def get(self, url: str) -> dict[str, Any]:
        """Return the JSON answer; raises NotReadyError or EndpointError."""
        return self._answer("GET", url, None)

    def _answer(self, method: str, url: str, body: dict[str, Any] | None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        try:
            response = requests.request(method, url, json=body, headers=headers, timeout=self.timeout_s)
        except requests.RequestException as error:
            raise NotReadyError(
                f"the endpoint does not answer: {type(error).__name__}",
                where=url,
                next_step="start the server, or mend target.api_endpoint.url",
            ) from error
        self._refuse_status(response, url)
        try:
            answer = response.json()
        except requests.JSONDecodeError as error:
            raise EndpointError("the endpoint's answer is not JSON", where=url) from error
        if not isinstance(answer, dict):
            raise EndpointError("the endpoint's answer is not a JSON object", where=url)
        return answer

    def _refuse_status(self, response: requests.Response, url: str) -> None:
        status = response.status_code
        where = f"{url} answered {status}"
        if status >= 500 or status == 429:
            raise NotReadyError(f"the endpoint answers {status}", where=url)
        if status in (401, 403):
            name = self.endpoint.api_key_name
            step = (
                f"set the right key in {name}" if name else "give --api_key_name VARIABLE with the key in it"
            )
            raise EndpointError("the endpoint refuses the key", where=where, next_step=step)
        if status >= 400:
            raise EndpointError(
                f"the endpoint refuses the request: {response.text[:300]}",
                where=where,
                next_step=f'see that it serves the model "{self.endpoint.model_id}" on this route',
            )


def wait_until_ready(probe: Probe, wait_s: float) -> None:
    """Probe until the endpoint answers truthfully; raises EndpointError, at the latest after wait_s."""
    deadline = time.monotonic() + wait_s
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return check(probe)
        except NotReadyError:
            if time.monotonic() + pause_s > deadline:
                raise
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _LAST_PAUSE_S)


def check(probe: Probe) -> None:
    """Ask the endpoint what its type promises; raises EndpointError with a distinct finding each."""
    match probe.endpoint.type:
        case "completions_logprob":
            _check_logprobs(probe)
        case "completions":
            _check_text(probe, {"prompt": KNOWN_CONTEXT})
        case "chat":
            _check_text(probe, {"messages": [{"role": "user", "content": "Say yes."}]})
        case "embedding":
            probe.post(probe.endpoint.url, {"model": probe.endpoint.model_id, "input": "yes"})


def _check_text(probe: Probe, body: dict[str, Any]) -> None:
    answer = probe.post(
        probe.endpoint.url, {"model": probe.endpoint.model_id, "max_tokens": 4, "temperature": 0.0, **body}
    )
    if not answer.get("choices"):
        raise EndpointError("the endpoint's answer holds no choices", where=probe.endpoint.url)


def _check_logprobs(probe: Probe) -> None:
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
    generated = _next_token_logprob(probe)
    if generated is not None and abs(generated - right) > _SAME_TOKEN_NATS:
        raise _untruthful(
            probe,
            f'"{KNOWN_ANSWER}" gets log-probability {right:.2f} as a prompt token and {generated:.2f} as a '
            "generated one; prompt log-probabilities are shifted or belong to another model",
        )


def _score(probe: Probe, continuation: str) -> float:
    """Return the sum of the log-probabilities of the continuation's tokens, as an echo request gives them."""
    body = {"prompt": KNOWN_CONTEXT + continuation, "echo": True, "logprobs": 1, "max_tokens": 1}
    choice = _completion(probe, body)
    logprobs = choice.get("logprobs") or {}
    tokens, values = logprobs.get("tokens") or [], logprobs.get("token_logprobs") or []
    offsets = logprobs.get("text_offset") or []
    if not tokens or len(tokens) != len(values) or len(offsets) != len(tokens):
        raise _untruthful(probe, "an echo request gives no log-probabilities of the prompt")
    if values[0] is not None:
        raise _untruthful(probe, "the first prompt token has a log-probability, which nothing precedes")
    start, end = len(KNOWN_CONTEXT), len(KNOWN_CONTEXT + continuation)
    scored = [value for value, offset in zip(values, offsets, strict=True) if start <= offset < end]
    if not scored or not all(isinstance(value, int | float) and math.isfinite(value) for value in scored):
        raise _untruthful(probe, "the log-probabilities of the prompt's last tokens are missing")
    return math.fsum(scored)


def _next_token_logprob(probe: Probe) -> float | None:
    """Return the log-probability of the known answer among the next token's alternatives, if it is there."""
    body = {"prompt": KNOWN_CONTEXT, "logprobs": 5, "max_tokens": 1, "temperature": 0.0}
    top = ((_completion(probe, body).get("logprobs") or {}).get("top_logprobs") or [None])[0]
    value = (top or {}).get(KNOWN_ANSWER)
    return float(value) if isinstance(value, int | float) else None


def _completion(probe: Probe, body: dict[str, Any]) -> dict[str, Any]:
    url = route_url(probe.endpoint.base_url, "completions")
    answer = probe.post(url, {"model": probe.endpoint.model_id, "temperature": 0.0, **body})
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise EndpointError("the endpoint's answer holds no choices", where=url)
    choice: dict[str, Any] = choices[0]
    return choice


def _untruthful(probe: Probe, finding: str) -> EndpointError:
    return EndpointError(
        finding,
        where=f"{probe.endpoint.url}  model {probe.endpoint.model_id}",
        next_step="use a server whose prompt log-probabilities are right, or a task that generates text",
    )


def key_value(name: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the value of the variable that api_key_name names; raises UsageError if it is unset."""
    if not name:
        return None
    value = environ.get(name)
    if not value:
        raise UsageError(
            f"the variable {name} is not set, and api_key_name names it",
            next_step=f"export {name}=… (into a container of your own: docker run -e {name})",
        )
    return value
