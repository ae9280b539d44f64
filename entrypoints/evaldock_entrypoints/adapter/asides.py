"""What is asked beside the task's requests: what models there are, what a tokenizer makes of a text."""

from evaldock_entrypoints.adapter.client import Client
from evaldock_entrypoints.adapter.front import Front
from evaldock_entrypoints.adapter.refusals import not_in_store
from evaldock_entrypoints.adapter.upstream import Terms
from evaldock_entrypoints.adapter.upstream.reply import Asking, Reply
from evaldock_entrypoints.contract.errors import ExecutionError
from evaldock_entrypoints.exchanges.facts import Facts
from evaldock_entrypoints.exchanges.key import digest_of


async def pass_on(front: Front, asking: Asking, terms: Terms, client: Client) -> None:
    """Ask the endpoint something that no score is made of, and keep nothing of it."""
    if await front.refuses_stopped(client):
        return
    if front.replays:
        await client.send_error(502, "only stored answers are given", "not_in_store")
        return
    reply = await front.upstream.ask(asking, terms)
    await client.send(reply.status, reply.headers, reply.body)


async def look_up(front: Front, asking: Asking, client: Client) -> None:
    """Answer what has one answer for good, such as a tokenizer: from the store wherever it is there."""
    try:
        await _look_up(front, asking, client)
    except ExecutionError as error:
        await front.end(error, client)


async def _look_up(front: Front, asking: Asking, client: Client) -> None:
    if await front.refuses_stopped(client):
        return
    store, arrived = front.lane.store, front.lane.store.arrived()
    digest = digest_of(f"{asking.method} {front.records.below(asking.path)}", asking.body)
    found = store.find(digest, 0)
    if found is not None:
        exchange, source, headers = (
            found.exchange,
            found.source,
            {"content-type": found.exchange.content_type},
        )
        is_there = await client.send(exchange.status, headers, exchange.response)
    else:
        reply = not_in_store(asking) if front.replays else await front.upstream.ask(asking, front.terms)
        source = "asked"
        _keep(front, asking, reply, digest, arrived)
        is_there = await client.send(reply.status, reply.headers, reply.body) and reply.kind is None
    if is_there and digest in front.records.failed_lookups:
        store.deliver(digest, 0, source=source, arrived=arrived, is_lookup=True)


def _keep(front: Front, asking: Asking, reply: Reply, digest: bytes, arrived: int) -> None:
    records = front.records
    facts = Facts(
        started_at=reply.started_at,
        latency_ms=reply.latency_ms,
        attempts=reply.attempts,
        is_generation=False,
        error=reply.kind,
        message=reply.message or None,
    )
    exchange = records.exchange(asking.path, asking.body, digest, facts, reply=reply)
    if reply.kind is None:
        front.lane.store.add(exchange)
    elif asking.method == "POST":
        front.lane.counts.requests += 1
        records.failed_lookups.add(digest)
        records.fail(exchange, arrived=arrived)
