"""Ask a chat endpoint once: evaldock's adapter, which has asked again already."""

import http.client
import json
import time
import urllib.parse
from typing import Any

MESSAGE_CHARACTERS = 300
KEY_HEADER = "x-evaldock-key"  # the adapter's name for the exchange


class AskError(Exception):
    """A question got no answer, or an error."""


class UnreachableError(Exception):
    """There is no connection, or it broke: no other question can fare better."""


def ask(url: str, body: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """Return what a record says of the answer: response, finish_reason, tokens, latency_ms, request_keys.

    Raises AskError where there is no answer and UnreachableError where nobody is there.
    """
    started_s = time.monotonic()
    status, content, key = _exchange(url, json.dumps(body).encode(), timeout_s)
    latency_ms = (time.monotonic() - started_s) * 1000
    if status != 200:
        raise AskError(f"HTTP {status}: {_message(content)}")
    return {**_answer(content), "latency_ms": round(latency_ms, 3), "request_keys": [key] if key else []}


def _exchange(url: str, body: bytes, timeout_s: float) -> tuple[int, bytes, str | None]:
    """Return status, body and the adapter's key; one connection for one request, and no proxy."""
    place = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=timeout_s)
    headers = {"Content-Type": "application/json", "Connection": "close"}
    try:
        connection.request("POST", place.path, body, headers)
        response = connection.getresponse()
        return response.status, response.read(), response.headers.get(KEY_HEADER)
    except TimeoutError as error:
        raise AskError(f"no answer within {timeout_s} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()


def _answer(content: bytes) -> dict[str, Any]:
    """Read a 200; a body without a choice is an endpoint's error, never an empty answer."""
    try:
        tree = json.loads(content)
        choice = tree["choices"][0]
        text, usage = choice["message"]["content"], tree.get("usage") or {}
        if text is not None and not isinstance(text, str):
            raise TypeError("it is no text")
        return {
            "response": text or "",
            "finish_reason": choice.get("finish_reason"),
            "prompt_tokens": usage.get("prompt_tokens"),
            "completion_tokens": usage.get("completion_tokens"),
        }
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise AskError(f"HTTP 200 without a usable choice ({error}): {_message(content)}") from error


def _message(content: bytes) -> str:
    """Return what an OpenAI-style error says, of any other body its beginning."""
    try:
        return str(json.loads(content)["error"]["message"])[:MESSAGE_CHARACTERS]
    except (ValueError, KeyError, TypeError):
        return content[:MESSAGE_CHARACTERS].decode("utf-8", "replace")
