"""Ask an OpenAI-style endpoint once: evaldock's adapter, which has asked again already."""

import http.client
import json
import math
import time
import urllib.parse
from dataclasses import dataclass
from typing import Any

MESSAGE_CHARACTERS = 300
KEY_HEADER = "x-evaldock-key"  # the adapter's name for the exchange


class AskError(Exception):
    """A question got no answer, or an error."""


class UnreachableError(Exception):
    """There is no connection, or it broke: no other question can fare better."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A good answer. logprob: of the scored end of the prompt, in nats; None where none was asked for."""

    text: str
    logprob: float | None
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    latency_ms: float
    key: str | None


def ask(url: str, body: dict[str, Any], timeout_s: float, scored_from: int | None = None) -> Reply:
    """Return the answer; raises AskError where there is none and UnreachableError where nobody is there.

    scored_from: sum the log-probabilities of the prompt's tokens from this character on.
    """
    started_s = time.monotonic()
    status, content, key = _exchange(url, json.dumps(body).encode(), timeout_s)
    latency_ms = (time.monotonic() - started_s) * 1000
    if status != 200:
        raise AskError(f"HTTP {status}: {_message(content)}")
    try:
        tree = json.loads(content)
        choice = tree["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        usage = tree.get("usage") or {}
        logprob = (
            None if scored_from is None else _logprob(choice["logprobs"], scored_from, len(body["prompt"]))
        )
        return Reply(
            text=_as_text(text),
            logprob=logprob,
            finish_reason=choice.get("finish_reason"),
            prompt_tokens=usage.get("prompt_tokens"),
            completion_tokens=usage.get("completion_tokens"),
            latency_ms=round(latency_ms, 3),
            key=key,
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise AskError(f"HTTP 200 without a usable choice ({error}): {_message(content)}") from error


def _exchange(url: str, body: bytes, timeout_s: float) -> tuple[int, bytes, str | None]:
    """Return status, body and the adapter's key; one connection for one request, and no proxy."""
    place = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=timeout_s)
    try:
        connection.request(
            "POST", place.path, body, {"Content-Type": "application/json", "Connection": "close"}
        )
        response = connection.getresponse()
        return response.status, response.read(), response.headers.get(KEY_HEADER)
    except TimeoutError as error:
        raise AskError(f"no answer within {timeout_s} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()


def _as_text(text: object) -> str:
    if text is not None and not isinstance(text, str):
        raise TypeError("it is no text")
    return text or ""


def _logprob(logprobs: dict[str, list[Any]], start: int, end: int) -> float:
    """Return the sum over the prompt's tokens that reach beyond `start`; the echo may go on after `end`."""
    values, offsets = logprobs["token_logprobs"], logprobs["text_offset"]
    ends = [*offsets[1:], math.inf]
    tokens = zip(offsets, ends, values, strict=True)
    scored = [value for begin, stop, value in tokens if stop > start and begin < end]
    if not scored or not all(isinstance(value, int | float) and math.isfinite(value) for value in scored):
        raise ValueError("the log-probabilities of the prompt's last tokens are missing")
    return math.fsum(scored)


def _message(content: bytes) -> str:
    """Return what an OpenAI-style error says, of any other body its beginning."""
    try:
        return str(json.loads(content)["error"]["message"])[:MESSAGE_CHARACTERS]
    except (ValueError, KeyError, TypeError):
        return content[:MESSAGE_CHARACTERS].decode("utf-8", "replace")
