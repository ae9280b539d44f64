"""A chain of interceptors, made from a document's list, without a server around it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from evaldock_entrypoints.adapter.body import Body
from evaldock_entrypoints.adapter.call import KINDS, Answer, Call
from evaldock_entrypoints.adapter.chain import Chain, Link
from evaldock_entrypoints.adapter.interceptor import Context
from evaldock_entrypoints.adapter.registry import build
from evaldock_entrypoints.adapter.signals import facts_of
from evaldock_entrypoints.adapter.upstream.reply import Reply
from evaldock_entrypoints.contract.chain import chain_of
from evaldock_entrypoints.contract.errors import EvaldockError
from evaldock_entrypoints.contract.layers import Merged
from evaldock_entrypoints.contract.target import AdapterConfig, Interceptor

NOWHERE = Merged(tree={}, origins={})


@dataclass(kw_only=True)
class Task:
    """A task's folder and its chain. listed: interceptors as a document spells them."""

    folder: Path
    listed: list[dict[str, Any]]
    role: str | None = None
    stopped: list[EvaldockError] = field(default_factory=list)

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def chain(self) -> Chain:
        """Return the chain as the adapter makes it."""
        self.logs.mkdir(parents=True, exist_ok=True)
        listed = [Interceptor.model_validate(one) for one in self.listed]
        steps = chain_of(AdapterConfig(interceptors=listed), NOWHERE, ())
        context = Context(task="toy.sums", role=self.role, logs=self.logs, stop_task=self.stopped.append)
        return Chain(
            [Link(name=s.name, interceptor=build(s, context), best_effort=s.best_effort) for s in steps]
        )

    def run(self, work: Callable[[Chain], Awaitable[Any]]) -> Any:
        """Do something with the chain; close it."""

        async def whole() -> Any:
            async with self.chain() as chain:
                return await work(chain)

        return asyncio.run(whole())

    def sent(self, body: Mapping[str, Any], route: str = "/chat/completions", **headers: str) -> Call:
        """Return a request after the chain."""

        async def work(chain: Chain) -> Call:
            made = call(body, route, **headers)
            assert await chain.request(made) is None
            return made

        found: Call = self.run(work)
        return found

    def received(
        self, tree: Mapping[str, Any], body: Mapping[str, Any] | None = None, **more: Any
    ) -> tuple[Call, Answer]:
        """Return an answer after the chain, with its request."""

        async def work(chain: Chain) -> tuple[Call, Answer]:
            return await exchanged(chain, tree, body, **more)

        found: tuple[Call, Answer] = self.run(work)
        return found


async def exchanged(
    chain: Chain,
    tree: Mapping[str, Any],
    body: Mapping[str, Any] | None = None,
    *,
    route: str = "/chat/completions",
    status: int = 200,
    cached: bool = False,
) -> tuple[Call, Answer]:
    """Send a request through the chain and an answer back."""
    made = call(body or {"model": "m", "messages": [{"role": "user", "content": "1 + 1?"}]}, route)
    assert await chain.request(made) is None
    found = answer(made, tree, status, cached=cached)
    await chain.response(made, found)
    return made, found


def call(body: Mapping[str, Any], route: str = "/chat/completions", **headers: str) -> Call:
    """Return a harness's request."""
    return Call(
        task="toy.sums",
        role=None,
        kind=KINDS.get(route, "other"),
        route=route,
        body=Body(orjson.dumps(body)),
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def answer(made: Call, tree: Mapping[str, Any], status: int = 200, *, cached: bool = False) -> Answer:
    """Return an endpoint's answer, with the facts that the adapter makes of it."""
    raw = orjson.dumps(tree)
    failure: dict[str, Any] = {"kind": "status", "message": "it said no"} if status >= 400 else {}
    reply = Reply(status=status, headers={}, body=raw, tree=dict(tree), latency_ms=12.5, **failure)
    return Answer(
        status=status,
        body=Body(raw),
        headers={"content-type": "application/json"},
        facts=facts_of(made, reply),
        cached=cached,
    )


def said(content: Any, finish_reason: str = "stop", **message: Any) -> dict[str, Any]:
    """Return the body of a chat's answer with one choice."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}}
    usage = {"prompt_tokens": 5, "completion_tokens": 40, "total_tokens": 45}
    return {"model": "m", "choices": [{**choice, "finish_reason": finish_reason}], "usage": usage}


def message_of(found: Answer) -> dict[str, Any]:
    """Return the message that the harness gets: what the encoded bytes say."""
    message: dict[str, Any] = orjson.loads(found.body.encoded())["choices"][0]["message"]
    return message


def body_of(made: Call) -> dict[str, Any]:
    """Return the body that goes to the endpoint: what the encoded bytes say."""
    tree: dict[str, Any] = orjson.loads(made.body.encoded())
    return tree
