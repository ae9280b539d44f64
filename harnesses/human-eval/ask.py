"""Ask one question of an OpenAI-style endpoint, with retries."""

import asyncio
import json
import random
import time
from dataclasses import dataclass
from typing import Any

import aiohttp
from retries import backoff_s, is_retryable, retry_after_s

MESSAGE_CHARACTERS = 300


class AskError(Exception):
    """A question failed for good; `status` is None where no HTTP response came."""

    def __init__(self, message: str, *, status: int | None, retries: int) -> None:
        super().__init__(message)
        self.status = status
        self.retries = retries


class RefusedError(Exception):
    """The endpoint refuses these credentials; no other question can fare better."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A good answer, with the attempts it took."""

    text: str
    finish_reason: str | None
    usage: dict[str, Any] | None
    latency_ms: float  # of the attempt that succeeded
    retries: int


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """One failed attempt."""

    message: str
    status: int | None = None
    retryable: bool = True
    retry_after_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Client:
    """Where to ask and how often; the session carries the key and the timeout of one attempt."""

    session: aiohttp.ClientSession
    url: str
    max_retries: int
    rng: random.Random

    async def ask(self, body: dict[str, Any]) -> Reply:
        """Return the answer; raises AskError when it failed for good and RefusedError on 401 and 403."""
        retries = 0
        while True:
            match await self._attempt(body, retries):
                case Reply() as reply:
                    return reply
                case _Failure() as failure:
                    if not failure.retryable or retries >= self.max_retries:
                        raise AskError(failure.message, status=failure.status, retries=retries)
                    await asyncio.sleep(backoff_s(retries, failure.retry_after_s, self.rng))
                    retries += 1

    async def _attempt(self, body: dict[str, Any], retries: int) -> Reply | _Failure:
        started = time.monotonic()
        try:
            async with self.session.post(self.url, json=body, allow_redirects=False) as response:
                content = await response.read()
        except TimeoutError:
            return _Failure(message=f"no answer within {self.session.timeout.total} s")
        except aiohttp.InvalidURL as error:
            return _Failure(message=f"not a URL: {error}", retryable=False)
        except (aiohttp.ClientError, OSError) as error:
            return _Failure(message=f"{type(error).__name__}: {error}")
        if response.status != 200:
            return _http_failure(response, content)
        return _reply(content, latency_ms=(time.monotonic() - started) * 1000, retries=retries)


def _http_failure(response: aiohttp.ClientResponse, content: bytes) -> _Failure:
    message = f"HTTP {response.status}: {_excerpt(content)}"
    if response.status in (401, 403):
        raise RefusedError(message)
    return _Failure(
        message=message,
        status=response.status,
        retryable=is_retryable(response.status),
        retry_after_s=retry_after_s(response.headers.get("Retry-After")),
    )


def _reply(content: bytes, *, latency_ms: float, retries: int) -> Reply | _Failure:
    """Read a 200; a body without a choice is an endpoint's error, never an empty answer."""
    try:
        body = json.loads(content)
        choice = body["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        finish_reason, usage = choice.get("finish_reason"), body.get("usage")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return _Failure(message=f"HTTP 200 without a choice: {_excerpt(content)}", status=200)
    if text is not None and not isinstance(text, str):
        return _Failure(message=f"HTTP 200 with a choice that is no text: {_excerpt(content)}", status=200)
    return Reply(
        text=text or "",
        finish_reason=finish_reason if isinstance(finish_reason, str) else None,
        usage=usage if isinstance(usage, dict) else None,
        latency_ms=latency_ms,
        retries=retries,
    )


def _excerpt(content: bytes) -> str:
    return content[:MESSAGE_CHARACTERS].decode("utf-8", "replace")
