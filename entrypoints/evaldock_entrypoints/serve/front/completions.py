"""POST /v1/completions."""

import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from evaldock_entrypoints.serve.front.calls import CompletionCall, Prompt, parse_completion
from evaldock_entrypoints.serve.front.fields import parse_object
from evaldock_entrypoints.serve.front.generation import (
    Choice,
    Delta,
    Service,
    check_model,
    check_tokens,
    complete_all,
    plan_requests,
    usage,
)
from evaldock_entrypoints.serve.front.http import Answer, EventStream, json_answer
from evaldock_entrypoints.serve.front.logprobs import completion_logprobs
from evaldock_entrypoints.serve.front.protocol import GenerationRequest, ScoredToken, Tokenizer
from evaldock_entrypoints.serve.front.streams import merged


@dataclass(frozen=True, kw_only=True)
class EncodedPrompt:
    """A prompt as tokens and as the text that echo returns, which lacks the first `unseen` tokens."""

    tokens: tuple[int, ...]
    text: str
    unseen: int


async def handle_completions(service: Service, body: bytes) -> Answer | EventStream:
    """Answer a completions request. Raises ApiError."""
    parsed = parse_completion(parse_object(body))
    check_model(service, parsed.call.model)
    prompts = [_encode(service, prompt, add_special=parsed.add_special) for prompt in parsed.prompts]
    requests = plan_requests(service, parsed.call, [prompt.tokens for prompt in prompts], echo=parsed.echo)
    if parsed.call.stream:
        return EventStream(events=_stream(service, parsed, prompts, requests))
    choices = await complete_all(service, requests, parsed.call.stops)
    rendered = [
        _render(service, parsed, prompts[index // parsed.call.n], choice, index)
        for index, choice in enumerate(choices)
    ]
    used = usage(sum(len(prompt.tokens) for prompt in prompts), sum(len(choice.tokens) for choice in choices))
    return json_answer({**_envelope(parsed), "choices": rendered, "usage": used})


def _encode(service: Service, prompt: Prompt, *, add_special: bool) -> EncodedPrompt:
    tokenizer = service.engine.tokenizer
    if not isinstance(prompt, str):
        tokens = check_tokens(service, prompt)
        text = b"".join(map(tokenizer.piece, tokens)).decode(errors="replace")
        return EncodedPrompt(tokens=tokens, text=text, unseen=0)
    tokens = check_tokens(service, tokenizer.encode(prompt, add_special=add_special))
    return EncodedPrompt(tokens=tokens, text=prompt, unseen=_unseen(tokenizer, tokens, prompt))


def _unseen(tokenizer: Tokenizer, tokens: tuple[int, ...], text: str) -> int:
    first = tokens[0]
    added = tokenizer.is_special(first) and not text.encode().startswith(tokenizer.piece(first))
    return int(added)


def _envelope(parsed: CompletionCall) -> dict[str, object]:
    return {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": parsed.call.model,
    }


def _render(
    service: Service, parsed: CompletionCall, prompt: EncodedPrompt, choice: Choice, index: int
) -> dict[str, object]:
    text = prompt.text + choice.text if parsed.echo else choice.text
    logprobs = None
    if parsed.call.top is not None:
        unseen = prompt.unseen if parsed.echo else 0
        logprobs = completion_logprobs(
            [*choice.prompt, *choice.tokens], service.engine.tokenizer, unseen=unseen
        )
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": choice.reason}


async def _stream(
    service: Service, parsed: CompletionCall, prompts: list[EncodedPrompt], requests: list[GenerationRequest]
) -> AsyncGenerator[object, None]:
    envelope = _envelope(parsed)
    generated = 0
    lengths = [0] * len(requests)
    if parsed.echo:
        for index in range(len(requests)):
            text = prompts[index // parsed.call.n].text
            if parsed.call.top is None:
                lengths[index] = len(text)
                yield {**envelope, "choices": [_chunk(index, text, None, None)]}
    async with aclosing(merged(service, requests, parsed.call.stops)) as parts:
        async for index, delta in parts:
            generated += len(delta.tokens)
            text = prompts[index // parsed.call.n].text if delta.prompt else delta.text
            logprobs = _delta_logprobs(service, parsed, delta, lengths[index])
            lengths[index] += len(text)
            yield {**envelope, "choices": [_chunk(index, text, logprobs, delta.reason)]}
    if parsed.call.include_usage:
        used = usage(sum(len(prompt.tokens) for prompt in prompts), generated)
        yield {**envelope, "choices": [], "usage": used}


def _delta_logprobs(
    service: Service, parsed: CompletionCall, delta: Delta, start: int
) -> dict[str, object] | None:
    scored: tuple[ScoredToken, ...] = (*delta.prompt, *delta.tokens)
    if parsed.call.top is None or not scored:
        return None
    logprobs = completion_logprobs(scored, service.engine.tokenizer)
    offsets = logprobs["text_offset"]
    assert isinstance(offsets, list)
    return {**logprobs, "text_offset": [start + offset for offset in offsets]}


def _chunk(index: int, text: str, logprobs: object, reason: str | None) -> dict[str, object]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}
