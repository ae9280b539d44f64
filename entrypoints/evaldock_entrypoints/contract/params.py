"""Parameters of a task, and the contract's defaults."""

from typing import Any

from pydantic import Field

from evaldock_entrypoints.contract.fields import Limit, Strict, Whole


class Params(Strict):
    """Parameters of one task. A key that is not there leaves the lower layer's value; null unsets it."""

    limit_samples: Limit | None = Field(
        default=None, description="items to ask, or a share of them below 1; null: all"
    )
    parallelism: Whole | None = Field(default=None, ge=1, description="requests in flight")
    temperature: float | None = Field(
        default=None, ge=0, description="sampling temperature; null: the server's own"
    )
    top_p: float | None = Field(default=None, gt=0, le=1, description="nucleus; null: the server's own")
    max_new_tokens: Whole | None = Field(
        default=None, ge=1, description="longest answer in tokens; null: the harness's own bound"
    )
    request_timeout: float | None = Field(default=None, gt=0, description="seconds one request may take")
    max_retries: Whole | None = Field(default=None, ge=0, description="attempts after the first one")
    seed: Whole | None = Field(default=None, description="of sampling and of the choice of items; null: none")
    repeats: Whole | None = Field(default=None, ge=1, description="answers per item")
    extra: dict[str, Any] = Field(
        default_factory=dict, description="what the harness declares besides; `evaldock ls tasks` names them"
    )


DEFAULT_PARAMS: dict[str, Any] = {
    "limit_samples": None,
    "parallelism": 16,
    "temperature": 0.0,
    "top_p": 1.0,
    "max_new_tokens": 512,
    "request_timeout": 300,
    "max_retries": 5,
    "seed": 42,
    "repeats": 1,
}
# A run cannot do without these: null leads back to the contract's default.
NEEDED_PARAMS = frozenset({"parallelism", "request_timeout", "max_retries", "repeats"})
