"""Several answers as one stream of deltas, in the order in which they are computed."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from evaldock_entrypoints.serve.front.generation import Choice, Delta, Service, deltas
from evaldock_entrypoints.serve.front.protocol import GenerationRequest


async def merged(
    service: Service, requests: Sequence[GenerationRequest], stops: Sequence[str]
) -> AsyncGenerator[tuple[int, Delta], None]:
    """Yield (index, delta) of all requests until each is finished; closing cancels the unfinished ones."""
    queue: asyncio.Queue[tuple[int, Delta | Exception]] = asyncio.Queue()
    tasks = [
        asyncio.create_task(_pump(service, request, stops, index, queue))
        for index, request in enumerate(requests)
    ]
    try:
        unfinished = len(tasks)
        while unfinished:
            index, item = await queue.get()
            if isinstance(item, Exception):
                raise item
            unfinished -= item.reason is not None
            yield index, item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(
    service: Service,
    request: GenerationRequest,
    stops: Sequence[str],
    index: int,
    queue: asyncio.Queue[tuple[int, Delta | Exception]],
) -> None:
    choice = Choice()
    try:
        async with aclosing(deltas(service, request, stops)) as parts:
            async for delta in parts:
                choice.add(delta)
                queue.put_nowait((index, delta))
    except Exception as error:  # noqa: BLE001 - carried over to the reader of the queue, which raises it
        queue.put_nowait((index, error))
        return
    service.metrics.count_sequence(len(request.prompt), len(choice.tokens), choice.reason)
