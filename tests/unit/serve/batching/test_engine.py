"""The engine thread, seen from the event loop."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from evaldock_entrypoints.serve.batching.engine import BatchingEngine
from evaldock_entrypoints.serve.front.protocol import (
    EngineDeadError,
    Finished,
    GenerationRequest,
    ModelInfo,
    Sampling,
)

Toy = Callable[..., Any]
REQUEST = GenerationRequest(prompt=(1, 2, 3), max_tokens=4, sampling=Sampling(temperature=0.0))
INFO = ModelInfo(
    name="m",
    max_model_len=64,
    created=1,
    chat_template=None,
    bos_token=None,
    eos_token=None,
    pad_token=None,
    tokenizer_class="Toy",
)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def twice(engine: BatchingEngine) -> None:
    for _ in range(2):
        async for _event in engine.submit(REQUEST):
            pass


def built(decoder: Any, engine: Any) -> BatchingEngine:
    return BatchingEngine(decoder, engine.tokenizer, INFO)


def test_becomes_ready_by_a_forward_pass_and_answers(toy: Toy, engine: Any) -> None:
    async def scene() -> None:
        decoder = toy()
        subject = built(decoder, engine)
        assert not subject.ready
        subject.start()
        await until(lambda: subject.ready)
        assert decoder.fed
        events = [event async for event in subject.submit(REQUEST)]
        assert isinstance(events[-1], Finished)
        assert len(events) in range(2, 6)

    asyncio.run(scene())


def test_leaving_the_answer_frees_the_engine(toy: Toy, engine: Any) -> None:
    async def scene() -> None:
        subject = built(toy(slots=1), engine)
        subject.start()
        endless = subject.submit(
            GenerationRequest(prompt=(1,), max_tokens=10**9, sampling=Sampling(), ignore_eos=True)
        )
        await anext(endless)
        assert subject.load().running == 1
        await endless.aclose()
        await until(lambda: subject.load().running == 0)

    asyncio.run(scene())


def test_death_fails_the_waiting_the_next_and_readiness(toy: Toy, engine: Any) -> None:
    async def scene() -> None:
        subject = built(toy(breaks_after=2), engine)
        subject.start()
        await until(lambda: subject.ready)
        with pytest.raises(EngineDeadError, match="toy broke"):
            await twice(subject)
        assert "toy broke" in await subject.died()
        assert not subject.ready
        with pytest.raises(EngineDeadError):
            await anext(subject.submit(REQUEST))

    asyncio.run(scene())
