"""From a parsed call to generated text: the part that completions and chat share."""

from asyncio import TaskGroup
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from evaldock_entrypoints.serve.front.calls import Call
from evaldock_entrypoints.serve.front.errors import bad_request, overloaded, too_long, unknown_model
from evaldock_entrypoints.serve.front.metrics import Metrics
from evaldock_entrypoints.serve.front.protocol import (
    Engine,
    Finished,
    FinishReason,
    Generated,
    GenerationRequest,
    PromptScored,
    ScoredToken,
)
from evaldock_entrypoints.serve.front.text import TextAssembler


@dataclass(frozen=True, kw_only=True)
class Service:
    """What the route handlers work with."""

    engine: Engine
    metrics: Metrics
    queue_bound: int


@dataclass(frozen=True, kw_only=True)
class Delta:
    """What one event added to a choice; `reason` is set on the last one."""

    text: str = ""
    prompt: tuple[ScoredToken, ...] = ()
    tokens: tuple[ScoredToken, ...] = ()
    reason: FinishReason | None = None


@dataclass(kw_only=True)
class Choice:
    """One answer while it grows."""

    text: str = ""
    prompt: tuple[ScoredToken, ...] = ()
    tokens: list[ScoredToken] = field(default_factory=list)
    reason: FinishReason = "length"

    def add(self, delta: Delta) -> None:
        """Take a delta in."""
        self.text += delta.text
        self.prompt += delta.prompt
        self.tokens.extend(delta.tokens)
        self.reason = delta.reason or self.reason


def check_model(service: Service, model: str) -> None:
    """Refuse a model that is not served here."""
    if model != service.engine.info.name:
        raise unknown_model(model)


def check_tokens(service: Service, tokens: Sequence[int]) -> tuple[int, ...]:
    """Refuse an empty prompt and token ids outside the vocabulary."""
    size = service.engine.tokenizer.vocabulary_size
    if not tokens:
        raise bad_request("the prompt is empty: give at least one token.", "prompt")
    if min(tokens) < 0 or max(tokens) >= size:
        raise bad_request(f"a token id is outside the vocabulary of {size} tokens.", "prompt")
    return tuple(tokens)


def plan_requests(
    service: Service, call: Call, prompts: Sequence[tuple[int, ...]], *, echo: bool = False
) -> list[GenerationRequest]:
    """Return the sequences to compute, `n` for each prompt. Raises ApiError when one does not fit."""
    limit = service.engine.info.max_model_len
    requests: list[GenerationRequest] = []
    for prompt in prompts:
        max_tokens = max(1, limit - len(prompt)) if call.max_tokens is None else call.max_tokens
        if len(prompt) + max_tokens > limit:
            raise too_long(len(prompt), max_tokens, limit)
        request = GenerationRequest(
            prompt=prompt,
            max_tokens=max_tokens,
            sampling=call.sampling,
            prompt_top=call.top if echo else None,
            top=call.top,
            ignore_eos=call.ignore_eos,
        )
        requests += [_reseeded(request, turn) for turn in range(call.n)]
    _check_queue(service, len(requests))
    return requests


async def deltas(
    service: Service, request: GenerationRequest, stops: Sequence[str]
) -> AsyncGenerator[Delta, None]:
    """Yield what each event adds to the answer; stop strings end it and cancel the rest."""
    tokenizer = service.engine.tokenizer
    assembler = TextAssembler(stops)
    async with aclosing(service.engine.submit(request)) as events:
        async for event in events:
            match event:
                case PromptScored(tokens):
                    yield Delta(prompt=tokens)
                case Generated(scored):
                    hidden = tokenizer.is_special(scored.token)
                    text = "" if hidden else assembler.push(tokenizer.piece(scored.token))
                    yield Delta(text=text, tokens=(scored,), reason="stop" if assembler.stopped else None)
                    if assembler.stopped:
                        return
                case Finished(reason):
                    text = assembler.flush()
                    yield Delta(text=text, reason="stop" if assembler.stopped else reason)


async def complete(service: Service, request: GenerationRequest, stops: Sequence[str]) -> Choice:
    """Return the whole answer to one request."""
    choice = Choice()
    async with aclosing(deltas(service, request, stops)) as parts:
        async for delta in parts:
            choice.add(delta)
    service.metrics.count_sequence(len(request.prompt), len(choice.tokens), choice.reason)
    return choice


async def complete_all(
    service: Service, requests: Sequence[GenerationRequest], stops: Sequence[str]
) -> list[Choice]:
    """Return the answers to several requests, in order; the first error cancels the others."""
    try:
        async with TaskGroup() as group:
            tasks = [group.create_task(complete(service, request, stops)) for request in requests]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return [task.result() for task in tasks]


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Return OpenAI's usage block."""
    total = prompt_tokens + completion_tokens
    return {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}


def _reseeded(request: GenerationRequest, turn: int) -> GenerationRequest:
    seed = request.sampling.seed
    if seed is None or turn == 0:
        return request
    return replace(request, sampling=replace(request.sampling, seed=seed + turn))


def _check_queue(service: Service, wanted: int) -> None:
    bound = service.queue_bound
    if wanted > bound:
        raise bad_request(
            f"{wanted} sequences in one request are more than the queue's bound of {bound}.", "prompt"
        )
    waiting = service.engine.load().waiting
    if waiting + wanted > bound:
        raise overloaded(waiting, bound)
