"""The engine thread, and its face on the event loop."""

import asyncio
import functools
import logging
import queue
import threading
import traceback
from collections.abc import AsyncGenerator, Callable

from evaldock_entrypoints.serve.batching.decoder import Decoder
from evaldock_entrypoints.serve.batching.scheduler import Scheduler
from evaldock_entrypoints.serve.batching.sequence import Running, running
from evaldock_entrypoints.serve.front.protocol import (
    EngineDeadError,
    EngineLoad,
    Event,
    Finished,
    GenerationRequest,
    ModelInfo,
    Sampling,
    Tokenizer,
)

logger = logging.getLogger("evaldock.serve")

Channel = asyncio.Queue[Event | EngineDeadError]


class BatchingEngine:
    """An `Engine` of the front that computes all sequences in one thread."""

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer, info: ModelInfo) -> None:
        self._scheduler = Scheduler(decoder)
        self._tokenizer = tokenizer
        self._info = info
        self._inbox: queue.SimpleQueue[Running] = queue.SimpleQueue()
        self._outbox: list[tuple[Channel, Event]] = []
        self._channels: set[Channel] = set()
        self._warmed = False
        self._death: asyncio.Future[str] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def info(self) -> ModelInfo:
        """Facts about the model."""
        return self._info

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""
        return self._tokenizer

    @property
    def ready(self) -> bool:
        """Whether a forward pass has succeeded and the thread lives."""
        return self._warmed and self._reason() is None

    def start(self) -> None:
        """Start the thread, which begins with a forward pass of its own."""
        self._loop = asyncio.get_running_loop()
        self._death = self._loop.create_future()
        threading.Thread(target=self._run, name="engine", daemon=True).start()

    async def submit(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Yield the events of one sequence; closing the generator cancels it. Raises EngineDeadError."""
        reason = self._reason()
        if reason is not None:
            raise EngineDeadError(reason)
        channel: Channel = asyncio.Queue()
        sequence = running(request, lambda event: self._outbox.append((channel, event)))
        self._channels.add(channel)
        self._inbox.put(sequence)
        try:
            while True:
                event = await channel.get()
                if isinstance(event, EngineDeadError):
                    raise event
                yield event
                if isinstance(event, Finished):
                    return
        finally:
            sequence.cancelled = True
            self._channels.discard(channel)

    def load(self) -> EngineLoad:
        """How busy the engine is."""
        load = self._scheduler.load()
        return EngineLoad(load.running, load.waiting + self._inbox.qsize())

    async def died(self) -> str:
        """Return the reason once the thread has died."""
        while self._death is None:
            await asyncio.sleep(0.05)
        return await asyncio.shield(self._death)

    def _reason(self) -> str | None:
        return self._death.result() if self._death is not None and self._death.done() else None

    def _run(self) -> None:
        try:
            self._warm_up()
            while True:
                self._take_in()
                self._scheduler.step()
                self._hand_out()
        except Exception as error:  # noqa: BLE001 - whatever ends the thread must end the server, with its reason
            logger.error("engine thread: %s", traceback.format_exc())
            self._call(functools.partial(self._die, f"{type(error).__name__}: {error}"))

    def _warm_up(self) -> None:
        done: list[Event] = []
        request = GenerationRequest(prompt=(0, 0), max_tokens=1, sampling=Sampling(temperature=0.0))
        self._scheduler.add(running(request, done.append))
        while not self._scheduler.idle:
            self._scheduler.step()
        self._warmed = True

    def _take_in(self) -> None:
        if self._scheduler.idle:
            self._scheduler.add(self._inbox.get())
        while not self._inbox.empty():
            self._scheduler.add(self._inbox.get())

    def _hand_out(self) -> None:
        if self._outbox:
            batch, self._outbox = self._outbox, []
            self._call(functools.partial(_deliver, batch))

    def _call(self, action: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(action)

    def _die(self, reason: str) -> None:
        assert self._death is not None
        self._death.set_result(reason)
        for channel in self._channels:
            channel.put_nowait(EngineDeadError(reason))


def _deliver(batch: list[tuple[Channel, Event]]) -> None:
    for channel, event in batch:
        channel.put_nowait(event)
