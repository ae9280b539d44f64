"""Continuous batching over a toy model whose next token depends on the whole past."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from evaldock_entrypoints.serve.batching.scheduler import Scheduler
from evaldock_entrypoints.serve.batching.sequence import Running, running
from evaldock_entrypoints.serve.front.protocol import (
    Event,
    Finished,
    Generated,
    GenerationRequest,
    PromptScored,
    Sampling,
)

Toy = Callable[..., Any]


def request(
    prompt: list[int], max_tokens: int = 3, *, scored: bool = False, temperature: float = 0.0
) -> GenerationRequest:
    return GenerationRequest(
        prompt=tuple(prompt),
        max_tokens=max_tokens,
        sampling=Sampling(temperature=temperature, seed=3),
        prompt_top=1 if scored else None,
        top=1,
    )


def run(decoder: Any, requests: list[GenerationRequest]) -> list[list[Event]]:
    scheduler = Scheduler(decoder)
    logs: list[list[Event]] = [[] for _ in requests]
    for wanted, log in zip(requests, logs, strict=True):
        scheduler.add(running(wanted, log.append))
    for _ in range(1000):
        if scheduler.idle:
            return logs
        scheduler.step()
    raise AssertionError("never idle")


def varied(count: int) -> list[GenerationRequest]:
    source = random.Random(5)
    prompts = [[source.randrange(31) for _ in range(source.randrange(1, 40))] for _ in range(count)]
    shared = prompts[0] + [1] * 20
    prompts += [[*shared, source.randrange(31), source.randrange(31)] for _ in range(count)]
    source.shuffle(prompts)
    return [
        request(
            prompt,
            source.randrange(1, 6),
            scored=source.random() < 0.5,
            temperature=source.choice([0.0, 1.0]),
        )
        for prompt in prompts
    ]


def test_prompt_scores_pair_each_token_with_the_distribution_before_it(toy: Toy) -> None:
    decoder = toy()
    prompt = [5, 6, 7, 8, 9, 10]
    scored = next(
        event for event in run(decoder, [request(prompt, scored=True)])[0] if isinstance(event, PromptScored)
    )
    assert [one.token for one in scored.tokens] == prompt
    assert scored.tokens[0].logprob is None
    for index in range(1, len(prompt)):
        row = decoder.logits(prompt[:index]).astype(np.float64)
        expected = row[prompt[index]] - np.log(np.exp(row).sum())
        assert scored.tokens[index].logprob == pytest.approx(expected, abs=1e-5)
        assert scored.tokens[index].top[0][0] == row.argmax()


def test_answers_are_the_same_alone_and_among_others(toy: Toy) -> None:
    requests = varied(20)
    alone = [run(toy(), [wanted])[0] for wanted in requests]
    assert run(toy(slots=4), requests) == alone


def test_shared_beginning_is_computed_once(toy: Toy) -> None:
    decoder = toy(slots=1, chunk=256)
    beginning = list(range(1, 30)) * 2
    run(decoder, [request([*beginning, last, last], 1, scored=True) for last in (1, 2, 3)])
    assert [rows for _, _, rows in decoder.fed] == [60, 3, 3]


def test_siblings_that_wait_together_share_although_other_slots_are_free(toy: Toy) -> None:
    decoder = toy(slots=4, chunk=256)
    beginning = list(range(1, 30)) * 2
    run(decoder, [request([*beginning, last, last], 1, scored=True) for last in (1, 2, 3)])
    assert [rows for _, _, rows in decoder.fed] == [60, 3, 3]


def test_no_part_of_a_prompt_is_a_single_row(toy: Toy) -> None:
    decoder = toy(slots=3)
    run(decoder, [wanted for wanted in varied(30) if len(wanted.prompt) > 1])
    assert min(rows for _, _, rows in decoder.fed) >= 2


def test_scores_asked_with_other_alternatives_are_not_reused(toy: Toy) -> None:
    decoder = toy(slots=1, chunk=256)
    prompt = list(range(1, 31))
    run(decoder, [request(prompt, 1), request(prompt, 1, scored=True)])
    assert [rows for _, _, rows in decoder.fed] == [30, 30]


def test_generated_tokens_are_computed_together(toy: Toy) -> None:
    decoder = toy(slots=4)
    run(decoder, [request([1, 2, index], 6) for index in range(4)])
    assert max(decoder.steps) == 4


def test_generation_goes_on_while_a_long_prompt_is_read(toy: Toy) -> None:
    decoder = toy(slots=2, chunk=4)
    order: list[str] = []
    scheduler = Scheduler(decoder)
    scheduler.add(running(request([1, 2], 5), lambda _: order.append("short")))
    scheduler.add(running(request([3] * 80, 1), lambda _: order.append("long")))
    while not scheduler.idle:
        scheduler.step()
    assert order.index("long") > order.count("short") - 1


def test_max_tokens_0_scores_and_generates_nothing(toy: Toy) -> None:
    events = run(toy(), [request([1, 2, 3], 0, scored=True)])[0]
    assert [type(event) for event in events] == [PromptScored, Finished]


def test_end_token_is_reported_and_stops(toy: Toy) -> None:
    decoder = toy()
    prompt = next([a, b] for a in range(31) for b in range(31) if decoder.logits([a, b]).argmax() == 31)
    events = run(decoder, [request(prompt, 1)])[0]
    assert [event.scored.token for event in events if isinstance(event, Generated)] == [31]
    assert events[-1] == Finished("stop")


def test_cancelled_sequence_frees_its_slot(toy: Toy) -> None:
    scheduler = Scheduler(toy(slots=1))
    log: list[Event] = []
    first: Running = running(request([1, 2], 10_000), log.append)
    second: Running = running(request([3, 4], 1), log.append)
    scheduler.add(first)
    scheduler.add(second)
    scheduler.step()
    assert (scheduler.load().running, scheduler.load().waiting) == (1, 1)
    first.cancelled = True
    while not scheduler.idle:
        scheduler.step()
    assert log[-1] == Finished("length")


def test_request_without_a_shared_prefix_is_not_passed_over_for_ever(toy: Toy) -> None:
    decoder = toy(slots=1, chunk=256)
    scheduler = Scheduler(decoder)
    finished: list[str] = []
    favoured = [7] * 40

    def add(name: str, prompt: list[int]) -> None:
        def note(event: Event) -> None:
            if isinstance(event, Finished):
                finished.append(name)

        scheduler.add(running(request(prompt, 1), note))

    add("favoured", favoured)
    scheduler.step()
    add("other", [1, 2, 3])
    for _ in range(200):
        add("favoured", favoured)
        scheduler.step()
    assert "other" in finished
