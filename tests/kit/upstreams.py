"""Requests to an endpoint as the adapter sends them, for tests."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import orjson

from evaldock_entrypoints.adapter.redaction import Redaction
from evaldock_entrypoints.adapter.upstream import Terms, Upstream
from evaldock_entrypoints.adapter.upstream.reply import Asking, Reply, Sink
from evaldock_entrypoints.contract.interceptors import EndpointPolicy

KEY = "sk-upstream-canary-4711"
PROMPT = "What is 1 plus 1?"
T = TypeVar("T")


def asking(prompt: str = PROMPT, *, headers: Mapping[str, str] | None = None, **fields: Any) -> Asking:
    """Return a chat request."""
    tree = {"model": "fake-model", "messages": [{"role": "user", "content": prompt}], **fields}
    body = orjson.dumps(tree)
    return Asking(
        method="POST",
        path="/chat/completions",
        body=body,
        headers={"content-type": "application/json", **(headers or {})},
        expects="choices",
        digest=hashlib.blake2b(body, digest_size=16).digest(),
    )


def terms(*, attempt_s: float = 0.5, retries: int = 2, total_s: float = 5.0) -> Terms:
    """Return terms short enough for a test."""
    return Terms(attempt_timeout_s=attempt_s, max_retries=retries, total_timeout_s=total_s)


@asynccontextmanager
async def upstream_at(*urls: str, key: str | None = None, **policy: Any) -> AsyncIterator[Upstream]:
    """Run an upstream to the endpoints at these addresses (without /v1)."""
    policy.setdefault("idle_timeout_s", 0.2)
    async with Upstream(
        [f"{url}/v1" for url in urls],
        policy=EndpointPolicy.model_validate(policy),
        api_key=key,
        redact=Redaction([key or ""]),
    ) as upstream:
        yield upstream


def asked(
    *urls: str,
    what: Asking | None = None,
    on: Terms | None = None,
    sink: Sink | None = None,
    key: str | None = None,
    **policy: Any,
) -> Reply:
    """Return the reply to one request."""

    async def ask() -> Reply:
        async with upstream_at(*urls, key=key, **policy) as upstream:
            return await upstream.ask(what or asking(), on or terms(), sink)

    return asyncio.run(ask())


async def in_turn(parallel: int, count: int, ask: Callable[[int], Awaitable[T]]) -> list[T]:
    """Ask `count` times, `parallel` at a time, as a harness does; return the results."""
    numbers, found = iter(range(count)), []

    async def work() -> None:
        for number in numbers:
            found.append(await ask(number))

    await asyncio.gather(*(work() for _ in range(parallel)))
    return found
