"""The settings of the adapter's own steps: store, endpoint, streams (contract, section 4).

Settings stand in the contract so that a document is refused with file and line before anything starts.
"""

from typing import Literal

from pydantic import Field

from evaldock_entrypoints.contract.fields import Strict, Switch, Whole, aliased

Seconds = float


class NoSettings(Strict):
    """No settings."""


class Caching(Strict):
    """Answers come from the store of exchanges where it holds them; exchanges are kept in any case."""

    reuse: Switch = Field(
        default=True,
        validation_alias=aliased("reuse", "reuse_cached_responses"),
        description="false: ask again also what the store holds",
    )
    shared: str | None = Field(
        default=None,
        min_length=1,
        validation_alias=aliased("shared", "cache_dir", "caching_dir"),
        description="folder of answers that several runs share",
    )


class EndpointPolicy(Strict):
    """How the endpoint is asked: pool, timeouts, retries, limits."""

    replicas: list[str] = Field(
        default_factory=list, max_length=7, description="further addresses that serve the same model"
    )
    connections: Whole | None = Field(default=None, ge=1, description="at most so many; null: as needed")
    connect_timeout_s: Seconds = Field(default=10.0, gt=0, description="until a connection stands")
    attempt_timeout_s: Seconds | None = Field(
        default=None, gt=0, description="one attempt; null: the task's request_timeout"
    )
    idle_timeout_s: Seconds = Field(
        default=60.0, gt=0, description="between two parts of an answer once it has begun"
    )
    total_timeout_s: Seconds = Field(default=600.0, gt=0, description="one request with all its attempts")
    max_retries: Whole | None = Field(
        default=None, ge=0, description="attempts after the first; null: the task's max_retries"
    )
    retry_budget: Seconds = Field(
        default=1.0, ge=0, description="retries per request over the whole run, beyond the first hundred"
    )
    readiness_timeout_s: Seconds = Field(
        default=0.0, ge=0, description="how long to wait for an endpoint that is not up yet"
    )
    max_concurrency: Whole | None = Field(default=None, ge=1, description="requests in flight over all tasks")
    adaptive: Switch = Field(
        default=False, description="find the concurrency at which the engine is full, up to max_concurrency"
    )
    requests_per_minute: float | None = Field(default=None, gt=0, description="over all tasks")
    tokens_per_minute: float | None = Field(
        default=None, gt=0, description="prompt and answer, over all tasks"
    )


class Streaming(Strict):
    """What becomes of streamed answers."""

    mode: Literal["auto", "pass", "coalesce"] = Field(
        default="auto",
        description="pass: part by part; coalesce: as one; auto: pass unless an interceptor changes answers",
    )
