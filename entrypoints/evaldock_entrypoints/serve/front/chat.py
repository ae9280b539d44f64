"""POST /v1/chat/completions."""

import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from evaldock_entrypoints.serve.front.calls import ChatCall, parse_chat
from evaldock_entrypoints.serve.front.fields import parse_object
from evaldock_entrypoints.serve.front.generation import (
    Choice,
    Service,
    check_model,
    check_tokens,
    complete_all,
    plan_requests,
    usage,
)
from evaldock_entrypoints.serve.front.http import Answer, EventStream, json_answer
from evaldock_entrypoints.serve.front.logprobs import chat_logprobs
from evaldock_entrypoints.serve.front.protocol import GenerationRequest, ScoredToken, Tokenizer
from evaldock_entrypoints.serve.front.streams import merged
from evaldock_entrypoints.serve.front.template import render_chat


async def handle_chat(service: Service, body: bytes) -> Answer | EventStream:
    """Answer a chat request. Raises ApiError."""
    parsed = parse_chat(parse_object(body))
    check_model(service, parsed.call.model)
    prompt = encode_chat(service, parsed)
    requests = plan_requests(service, parsed.call, [prompt])
    if parsed.call.stream:
        return EventStream(events=_stream(service, parsed, len(prompt), requests))
    choices = await complete_all(service, requests, parsed.call.stops)
    used = usage(len(prompt), sum(len(choice.tokens) for choice in choices))
    rendered = [_render(service, parsed, choice, index) for index, choice in enumerate(choices)]
    return json_answer({**_envelope(parsed, "chat.completion"), "choices": rendered, "usage": used})


def encode_chat(service: Service, parsed: ChatCall) -> tuple[int, ...]:
    """Return the tokens of a conversation; the template writes the special tokens itself."""
    text = render_chat(
        service.engine.info,
        parsed.messages,
        add_generation_prompt=parsed.add_generation_prompt,
        values=parsed.template_values,
    )
    return check_tokens(service, service.engine.tokenizer.encode(text, add_special=False))


def _envelope(parsed: ChatCall, kind: str) -> dict[str, object]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": parsed.call.model,
    }


def _render(service: Service, parsed: ChatCall, choice: Choice, index: int) -> dict[str, object]:
    return {
        "index": index,
        "message": {"role": "assistant", "content": choice.text, "refusal": None},
        "logprobs": _logprobs(parsed, choice.tokens, service.engine.tokenizer),
        "finish_reason": choice.reason,
    }


def _logprobs(
    parsed: ChatCall, tokens: Sequence[ScoredToken], tokenizer: Tokenizer
) -> dict[str, object] | None:
    if parsed.call.top is None:
        return None
    return chat_logprobs([scored for scored in tokens if not tokenizer.is_special(scored.token)], tokenizer)


async def _stream(
    service: Service, parsed: ChatCall, prompt_tokens: int, requests: list[GenerationRequest]
) -> AsyncGenerator[object, None]:
    envelope = _envelope(parsed, "chat.completion.chunk")
    tokenizer = service.engine.tokenizer
    generated = 0
    for index in range(len(requests)):
        yield {**envelope, "choices": [_chunk(index, {"role": "assistant", "content": ""}, None, None)]}
    async with aclosing(merged(service, requests, parsed.call.stops)) as parts:
        async for index, delta in parts:
            generated += len(delta.tokens)
            content = {"content": delta.text} if delta.text else {}
            logprobs = _logprobs(parsed, delta.tokens, tokenizer) if delta.tokens else None
            yield {**envelope, "choices": [_chunk(index, content, logprobs, delta.reason)]}
    if parsed.call.include_usage:
        yield {**envelope, "choices": [], "usage": usage(prompt_tokens, generated)}


def _chunk(index: int, delta: dict[str, str], logprobs: object, reason: str | None) -> dict[str, object]:
    return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
