"""What asking an endpoint gives: an answer or a failure, never one dressed up as the other."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

FailureKind = Literal["connect", "timeout", "idle", "status", "invalid", "cut", "budget"]
# Called with each part of a streamed answer as it comes, and before the first one with the reply's head.
Sink = Callable[[int, Mapping[str, str], bytes], Awaitable[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asking:
    """One request as it goes out. path: below the base address's /v1, or `/…` beside it where is_beside."""

    method: str
    path: str
    body: bytes
    headers: Mapping[str, str]
    expects: Literal["choices", "embeddings", "anything"] = "anything"  # what a good answer holds
    digest: bytes = b""  # of route and body: what "the same body" is
    is_beside: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What came back. kind: None for an answer, else the class of the failure that `message` tells of.

    A failure carries the status and body that the harness is to see, as OpenAI spells errors.
    """

    status: int
    headers: Mapping[str, str]  # lower-case names; no hop-by-hop header; secrets replaced
    body: bytes  # raw as it came, secrets replaced; a stream's bytes where is_stream
    tree: dict[str, Any] | None = None  # the answer as one JSON object, a stream's parts put together
    is_stream: bool = False
    started_at: float = 0.0  # seconds since 1970, of the first attempt
    latency_ms: float = 0.0  # of the last attempt
    ttft_ms: float | None = None
    attempts: int = 1
    kind: FailureKind | None = None
    message: str = ""
    sunk: bool = field(default=False)  # parts have gone to the sink
