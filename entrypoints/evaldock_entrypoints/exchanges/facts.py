"""What one answer says of itself: the truth signals behind completeness and metrics."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """Signals of one exchange. None: the endpoint did not say. Times are of the attempt that answered."""

    started_at: float  # seconds since 1970, of the first attempt
    latency_ms: float
    ttft_ms: float | None = None  # time to first token; only where the answer was streamed
    attempts: int = 1
    is_generation: bool = True  # asked for new text: not an embedding, not a score of given text
    choices: int = 0
    finish_reasons: tuple[str, ...] = ()  # one per choice that gives one
    empty: int = 0  # choices without text and without a tool call
    refused: int = 0  # choices refused by the model or filtered by the server
    truncated: int = 0  # choices that end for length
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    served_model: str | None = None  # as the answer names it
    error: str | None = None  # class of a failure: connect, timeout, idle, status, invalid, cut, limit, chain
    message: str | None = None  # what a failure said, secrets removed
