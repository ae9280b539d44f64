"""A request as it goes out, and what is got for it: from the store or from the endpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from evaldock_entrypoints.adapter import sse
from evaldock_entrypoints.adapter.body import Body
from evaldock_entrypoints.adapter.call import Call
from evaldock_entrypoints.adapter.upstream.reply import Sink
from evaldock_entrypoints.exchanges.record import Exchange, Source

KEY_HEADER = "x-evaldock-key"


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A request as it goes to the store and the endpoint. arrived: its number in this session."""

    body: bytes
    digest: bytes
    ordinal: int
    arrived: int

    @property
    def key(self) -> str:
        """The key as people and harnesses write it."""
        return f"{self.digest.hex()}:{self.ordinal}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Obtained:
    """An exchange and where it came from. tree: the answer as one JSON object where it was parsed already."""

    exchange: Exchange
    source: Source
    headers: Mapping[str, str]
    tree: dict[str, Any] | None = None
    sunk: bool = False  # its parts have gone to the harness already


def answer_body(obtained: Obtained) -> Body:
    """Return the answer for the chain to look at; a stream is what its parts add up to."""
    exchange = obtained.exchange
    if not exchange.is_stream or exchange.facts.error is not None:
        return Body(exchange.response, obtained.tree)
    tree = obtained.tree if obtained.tree is not None else sse.coalesced(exchange.response)
    return Body(orjson.dumps(tree), tree)


def keyed_sink(sink: Sink, asked: Asked) -> Sink:
    """Return a sink that adds the request's key to the head of the answer."""

    async def keyed(status: int, headers: Mapping[str, str], chunk: bytes) -> None:
        await sink(status, {**headers, KEY_HEADER: asked.key}, chunk)

    return keyed


def wants_usage(call: Call) -> bool:
    """Tell whether a stream is to end with its token counts."""
    options = (call.body.tree or {}).get("stream_options")
    return isinstance(options, dict) and bool(options.get("include_usage"))
