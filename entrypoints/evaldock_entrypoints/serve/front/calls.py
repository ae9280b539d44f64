"""Request bodies of the completion routes, parsed and checked."""

from collections.abc import Mapping
from dataclasses import dataclass

from evaldock_entrypoints.serve.front.errors import bad_request
from evaldock_entrypoints.serve.front.fields import Fields
from evaldock_entrypoints.serve.front.protocol import Sampling

MAX_ALTERNATIVES = 20
MAX_SEQUENCES_PER_PROMPT = 128
MAX_STOPS = 64
ANY_LENGTH = 2**31 - 1

Prompt = str | tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Call:
    """What both routes share; `max_tokens` None: as many as fit, `top` None: no log-probabilities."""

    model: str
    n: int
    max_tokens: int | None
    sampling: Sampling
    stops: tuple[str, ...]
    top: int | None
    ignore_eos: bool
    stream: bool
    include_usage: bool


@dataclass(frozen=True, kw_only=True)
class CompletionCall:
    """Body of POST /v1/completions."""

    call: Call
    prompts: tuple[Prompt, ...]
    echo: bool
    add_special: bool


@dataclass(frozen=True, kw_only=True)
class ChatCall:
    """Body of POST /v1/chat/completions."""

    call: Call
    messages: tuple[Mapping[str, object], ...]
    template_values: Mapping[str, object]
    add_generation_prompt: bool


def parse_completion(values: Mapping[str, object]) -> CompletionCall:
    """Read a completions body. Raises ApiError 400."""
    fields = Fields(values)
    echo = fields.flag("echo")
    max_tokens = fields.integer("max_tokens", 16, low=0, high=ANY_LENGTH)
    if max_tokens == 0 and not echo:
        raise bad_request("'max_tokens' of 0 needs 'echo': there would be nothing to answer.", "max_tokens")
    parsed = CompletionCall(
        call=_call(fields, max_tokens, _completion_top(fields)),
        prompts=parse_prompts(fields.raw("prompt")),
        echo=echo,
        add_special=fields.flag("add_special_tokens", default=True),
    )
    fields.finish()
    return parsed


def parse_chat(values: Mapping[str, object]) -> ChatCall:
    """Read a chat body. Raises ApiError 400."""
    fields = Fields(values)
    parsed = ChatCall(
        call=_call(fields, _chat_max_tokens(fields), _chat_top(fields)),
        messages=parse_messages(fields.raw("messages")),
        template_values=fields.object("chat_template_kwargs"),
        add_generation_prompt=fields.flag("add_generation_prompt", default=True),
    )
    fields.finish()
    return parsed


def parse_prompts(value: object) -> tuple[Prompt, ...]:
    """Read a prompt in any of its four shapes: text, texts, token ids, lists of token ids."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not value:
        raise bad_request("'prompt' must be text, token ids or a list of either.", "prompt")
    if all(_is_token(item) for item in value):
        return (tuple(value),)
    return tuple(_one_prompt(item) for item in value)


def parse_messages(value: object) -> tuple[Mapping[str, object], ...]:
    """Read chat messages; content parts of type text are joined into one string."""
    if not isinstance(value, list) or not value:
        raise bad_request("'messages' must be a list with at least one message.", "messages")
    return tuple(_message(item, index) for index, item in enumerate(value))


def _call(fields: Fields, max_tokens: int | None, top: int | None) -> Call:
    model = fields.text("model")
    if not model:
        raise bad_request("you must provide a model parameter", "model")
    return Call(
        model=model,
        n=fields.integer("n", 1, low=1, high=MAX_SEQUENCES_PER_PROMPT),
        max_tokens=max_tokens,
        sampling=_sampling(fields),
        stops=_stops(fields.raw("stop")),
        top=top,
        ignore_eos=fields.flag("ignore_eos"),
        stream=fields.flag("stream"),
        include_usage=fields.object("stream_options").get("include_usage") is True,
    )


def _sampling(fields: Fields) -> Sampling:
    seed = fields.raw("seed")
    return Sampling(
        temperature=fields.number("temperature", 1.0, low=0.0, high=2.0),
        top_p=fields.number("top_p", 1.0, low=0.0, high=1.0),
        # vLLM's way to say "off" is -1
        top_k=max(0, fields.integer("top_k", 0, low=-1, high=ANY_LENGTH)),
        seed=None if seed is None else fields.integer("seed", 0, low=-(2**63), high=2**63 - 1),
    )


def _stops(value: object) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value
    if stops is None:
        return ()
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise bad_request("'stop' must be a string or a list of strings.", "stop")
    if len(stops) > MAX_STOPS:
        raise bad_request(f"'stop' takes at most {MAX_STOPS} strings.", "stop")
    return tuple(stop for stop in stops if stop)


def _completion_top(fields: Fields) -> int | None:
    if fields.raw("logprobs") is None:
        return None
    return fields.integer("logprobs", 0, low=0, high=MAX_ALTERNATIVES)


def _chat_top(fields: Fields) -> int | None:
    wanted = fields.flag("logprobs")
    alternatives = fields.integer("top_logprobs", 0, low=0, high=MAX_ALTERNATIVES)
    if alternatives and not wanted:
        raise bad_request("'top_logprobs' needs 'logprobs' to be true.", "top_logprobs")
    return alternatives if wanted else None


def _chat_max_tokens(fields: Fields) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        if fields.raw(name) is not None:
            fields.raw("max_tokens")
            return fields.integer(name, 1, low=1, high=ANY_LENGTH)
    return None


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _one_prompt(value: object) -> Prompt:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(_is_token(item) for item in value):
        return tuple(value)
    raise bad_request("each item of 'prompt' must be a string or a list of token ids.", "prompt")


def _message(value: object, index: int) -> Mapping[str, object]:
    where = f"messages[{index}]"
    if not isinstance(value, dict) or not isinstance(value.get("role"), str):
        raise bad_request(f"{where} must be an object with a 'role'.", where)
    content = value.get("content")
    if content is None and value["role"] == "assistant":
        content = ""
    if isinstance(content, list):
        content = "".join(_text_part(part, where) for part in content)
    if not isinstance(content, str):
        raise bad_request(f"{where}.content must be a string or a list of text parts.", where)
    return {**value, "content": content}


def _text_part(part: object, where: str) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise bad_request(f"{where}: this model takes parts of type 'text' only.", where)
