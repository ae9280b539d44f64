"""One model as one task reaches it: through the chain, to the store, else to the endpoint."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from evaldock_entrypoints.adapter import sse
from evaldock_entrypoints.adapter.call import Answer, Call, Kind
from evaldock_entrypoints.adapter.chain import Chain, InterceptorError
from evaldock_entrypoints.adapter.client import EVENT_STREAM, Client
from evaldock_entrypoints.adapter.lane import Lane
from evaldock_entrypoints.adapter.obtained import (
    KEY_HEADER,
    Asked,
    Obtained,
    answer_body,
    keyed_sink,
    wants_usage,
)
from evaldock_entrypoints.adapter.records import Records
from evaldock_entrypoints.adapter.refusals import not_in_store, refused_access
from evaldock_entrypoints.adapter.signals import facts_of
from evaldock_entrypoints.adapter.upstream import Terms, Upstream
from evaldock_entrypoints.adapter.upstream.reply import Asking, Reply
from evaldock_entrypoints.contract.errors import ExecutionError
from evaldock_entrypoints.exchanges.key import digest_of
from evaldock_entrypoints.exchanges.record import Exchange

_JSON = {"content-type": "application/json"}
_STREAM = {"content-type": f"{EVENT_STREAM}; charset=utf-8", "cache-control": "no-cache"}
_EXPECTED: Mapping[Kind, Literal["choices", "embeddings", "anything"]] = {
    "chat": "choices",
    "completions": "choices",
    "embeddings": "embeddings",
    "other": "anything",
}


@dataclass(kw_only=True)
class Front:
    """The adapter before one model, for one task."""

    lane: Lane
    records: Records
    chain: Chain
    upstream: Upstream
    terms: Terms
    key_name: str | None
    asks_streamed: bool  # though the harness wants it whole
    passes_streams: bool  # part by part, as they come
    replays: bool  # asks nobody
    _pending: dict[tuple[bytes, int], "asyncio.Future[Obtained]"] = field(default_factory=dict)

    async def respond(self, call: Call, client: Client) -> None:
        """Answer a request of the harness, whatever happens."""
        counts = self.lane.counts
        counts.requests += 1
        counts.in_flight += 1
        arrived = self.lane.store.arrived()
        try:
            await self._respond(call, client, arrived)
        except InterceptorError as error:
            await self._refuse(call, error, arrived, client)
        except ExecutionError as error:
            await self.end(error, client)
        except Exception as error:
            self._note_failure(call, "internal", f"{type(error).__name__}: {error}", arrived)
            raise  # a fault of ours: the server logs it and answers 500
        finally:
            counts.in_flight -= 1

    async def refuses_stopped(self, client: Client) -> bool:
        """Say why where nothing more is asked for the task; return whether that is so."""
        if self.lane.stopped is None:
            return False
        await client.send_error(503, self.lane.stopped.message, "task_stopped")
        return True

    async def end(self, error: ExecutionError, client: Client) -> None:
        """End the run: the store cannot be written, and no further answer could be proven."""
        self.lane.stop_all(error)
        await client.send_error(507, error.message, "store_failed")

    async def _respond(self, call: Call, client: Client, arrived: int) -> None:
        if await self.refuses_stopped(client):
            return
        early = await self.chain.request(call)
        if early is not None:
            kind = "limit" if early.facts.error == "limit" else "chain"  # a refusal asked for, or no answer
            self._note_failure(call, kind, f"answered by an interceptor, status {early.status}", arrived)
            await _send_answer(early, client)
            return
        body = self._outgoing(call)
        digest = digest_of(self.records.below(_name(call)), body, call.body.tree)
        ordinal = self.lane.ordinals.claim(digest, client)
        is_delivered = False
        try:
            asked = Asked(body=body, digest=digest, ordinal=ordinal, arrived=arrived)
            obtained = await self._obtain(call, asked, client)
            is_delivered = await self._hand_over(call, asked, obtained, client)
        finally:
            settle = self.lane.ordinals.delivered if is_delivered else self.lane.ordinals.released
            settle(digest, ordinal, client)
        if is_delivered:
            self._note_delivery(call, asked, obtained)

    def _outgoing(self, call: Call) -> bytes:
        if self.asks_streamed and not call.wants_stream and call.kind in ("chat", "completions"):
            tree = call.body.edit()
            tree["stream"] = True
            tree.setdefault("stream_options", {"include_usage": True})
        return call.body.encoded()

    async def _obtain(self, call: Call, asked: Asked, client: Client) -> Obtained:
        """Return the stored answer, that of a request under way for the same ordinal, or a fresh one."""
        key = (asked.digest, asked.ordinal)
        if (found := self.lane.store.find(*key)) is not None:
            headers = {"content-type": found.exchange.content_type}
            return Obtained(exchange=found.exchange, source=found.source, headers=headers)
        if (pending := self._pending.get(key)) is not None:
            return replace(await asyncio.shield(pending), sunk=False)
        self._pending[key] = future = asyncio.get_running_loop().create_future()
        try:
            obtained = await self._asked(call, asked, client)
            future.set_result(obtained)
            return obtained
        finally:
            del self._pending[key]
            future.cancel()  # of no effect on one that has its result

    async def _asked(self, call: Call, asked: Asked, client: Client) -> Obtained:
        sink = keyed_sink(client.part, asked) if self._passes_part_by_part(call) else None
        asking = Asking(
            method="POST",
            path=call.route,
            body=asked.body,
            headers=call.headers,
            expects=_EXPECTED[call.kind],
            digest=asked.digest,
            is_beside=call.is_beside,
        )
        reply = not_in_store(asking) if self.replays else await self.upstream.ask(asking, self.terms, sink)
        facts = facts_of(call, reply)
        exchange = self.records.exchange(
            call.route, asked.body, asked.digest, facts, ordinal=asked.ordinal, reply=reply
        )
        self._keep(exchange, reply, asked)
        return Obtained(
            exchange=exchange, source="asked", headers=reply.headers, tree=reply.tree, sunk=reply.sunk
        )

    def _keep(self, exchange: Exchange, reply: Reply, asked: Asked) -> None:
        counts = self.lane.counts
        counts.retried += reply.attempts > 1
        if reply.kind is None:
            self.lane.store.add(exchange)
            return
        self.records.fail(exchange, arrived=asked.arrived)
        if reply.status == 401:
            self.lane.stop_all(refused_access(self.upstream.base_url, self.key_name, reply.message))

    async def _hand_over(self, call: Call, asked: Asked, obtained: Obtained, client: Client) -> bool:
        """Send the answer back through the chain; return whether the harness got one."""
        exchange = obtained.exchange
        answer = Answer(
            status=exchange.status,
            body=answer_body(obtained),
            headers=dict(_JSON) if exchange.is_stream else dict(obtained.headers),
            facts=exchange.facts,
            cached=obtained.source != "asked",
        )
        answer.headers[KEY_HEADER] = asked.key
        try:
            await self.chain.response(call, answer)
        except InterceptorError as error:
            await self._refuse(call, error, asked.arrived, client, asked.digest)
            return False
        if exchange.facts.error is not None:
            await self._send_failure(obtained, answer, client)
            return False
        if answer.status >= 400:
            message = f"turned into status {answer.status} by an interceptor"
            self._note_failure(call, "chain", message, asked.arrived, asked.digest)
            await _send_answer(answer, client)
            return False
        return await self._send(call, obtained, answer, client)

    async def _send(self, call: Call, obtained: Obtained, answer: Answer, client: Client) -> bool:
        if obtained.sunk:
            return await client.end()
        if not call.wants_stream or not obtained.exchange.is_stream:
            return await _send_answer(answer, client)
        headers = {**_STREAM, KEY_HEADER: answer.headers[KEY_HEADER]}
        if self._passes_part_by_part(call):
            return await client.send(answer.status, headers, obtained.exchange.response)
        tree, usage = answer.body.tree or {}, wants_usage(call)
        return await client.send(answer.status, headers, sse.as_events(tree, include_usage=usage))

    async def _send_failure(self, obtained: Obtained, answer: Answer, client: Client) -> None:
        if obtained.sunk:
            await client.cut(obtained.exchange.facts.message or "the endpoint broke off")
            return
        await _send_answer(answer, client)

    def _note_delivery(self, call: Call, asked: Asked, obtained: Obtained) -> None:
        counts = self.lane.counts
        counts.answered += 1
        counts.cached += obtained.source != "asked"
        self.lane.store.deliver(
            asked.digest, asked.ordinal, source=obtained.source, arrived=asked.arrived, notes=call.notes
        )

    async def _refuse(
        self, call: Call, error: InterceptorError, arrived: int, client: Client, digest: bytes | None = None
    ) -> None:
        self._note_failure(call, "chain", str(error), arrived, digest)
        await client.send_error(500, str(error), "interceptor_failed")

    def _note_failure(
        self, call: Call, kind: str, message: str, arrived: int, digest: bytes | None = None
    ) -> None:
        """Keep a request that the chain itself let fail: it is an error of the task like any other.

        digest: of the request as it went out; None where it never did.
        """
        digest = digest or digest_of(self.records.below(_name(call)), call.body.raw)
        self.records.fail_here(call.route, call.body.raw, digest, kind, message, arrived=arrived)

    def _passes_part_by_part(self, call: Call) -> bool:
        """Tell whether the answer goes on as it comes; how the parts of others add up nobody knows here."""
        return call.wants_stream and (self.passes_streams or call.kind == "other")


def _name(call: Call) -> str:
    """Return the route as keys name it: /score is one below /v1 and another one beside it."""
    return f"beside {call.route}" if call.is_beside else call.route


async def _send_answer(answer: Answer, client: Client) -> bool:
    return await client.send(answer.status, answer.headers, answer.body.encoded())
