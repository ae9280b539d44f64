"""One request of a harness, and its answer, as the chain sees them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from evaldock_entrypoints.adapter.body import Body
from evaldock_entrypoints.exchanges.facts import Facts

Kind = Literal["chat", "completions", "embeddings", "other"]
KINDS: Mapping[str, Kind] = {
    "/chat/completions": "chat",
    "/completions": "completions",
    "/embeddings": "embeddings",
}


@dataclass(kw_only=True, slots=True)
class Call:
    """A request on its way to the endpoint. Interceptors change `body` and `headers` in place."""

    task: str
    role: str | None  # of an auxiliary model; None: the model under evaluation
    kind: Kind
    route: str  # below /v1 or beside it, without a trailing slash, with the query
    body: Body
    headers: dict[str, str]  # lower-case names; no hop-by-hop header, no credential
    wants_stream: bool = False
    is_beside: bool = False  # the route stands beside /v1
    notes: dict[str, str | int | float | bool] = field(
        default_factory=dict
    )  # of interceptors; kept with the delivery


@dataclass(kw_only=True, slots=True)
class Answer:
    """What goes back to the harness. Interceptors change `body`, `headers` and `status` in place.

    A streamed answer comes here whole: `body` is what its parts add up to.
    """

    status: int
    body: Body
    headers: dict[str, str]
    facts: Facts
    cached: bool = False  # came from the store
