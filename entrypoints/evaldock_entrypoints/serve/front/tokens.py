"""/tokenize, /detokenize and /tokenizer_info in vLLM's shapes, which lm-eval's RemoteTokenizer reads."""

from evaldock_entrypoints.serve.front.calls import ChatCall, parse_chat
from evaldock_entrypoints.serve.front.chat import encode_chat
from evaldock_entrypoints.serve.front.errors import bad_request
from evaldock_entrypoints.serve.front.fields import Fields, parse_object
from evaldock_entrypoints.serve.front.generation import Service, check_model
from evaldock_entrypoints.serve.front.http import Answer, json_answer
from evaldock_entrypoints.serve.front.text import token_text


async def handle_tokenize(service: Service, body: bytes) -> Answer:
    """Answer with the token ids of a text or of a conversation."""
    values = parse_object(body)
    with_strings = values.get("return_token_strs") is True
    values.pop("return_token_strs", None)
    tokens = _chat_tokens(service, values) if "messages" in values else _text_tokens(service, values)
    tokenizer = service.engine.tokenizer
    strings = [token_text(tokenizer.piece(token)) for token in tokens] if with_strings else None
    limit = service.engine.info.max_model_len
    return json_answer(
        {"count": len(tokens), "max_model_len": limit, "tokens": tokens, "token_strs": strings}
    )


async def handle_detokenize(service: Service, body: bytes) -> Answer:
    """Answer with the text of token ids, special tokens written out."""
    fields = Fields(parse_object(body))
    _check_named_model(service, fields.text("model"))
    tokens = fields.raw("tokens")
    fields.finish()
    size = service.engine.tokenizer.vocabulary_size
    if not isinstance(tokens, list) or not all(
        isinstance(token, int) and 0 <= token < size for token in tokens
    ):
        raise bad_request(f"'tokens' must be a list of token ids below {size}.", "tokens")
    text = b"".join(map(service.engine.tokenizer.piece, tokens)).decode(errors="replace")
    return json_answer({"prompt": text})


async def handle_tokenizer_info(service: Service, _body: bytes) -> Answer:
    """Answer with what a tokenizer's own configuration would say."""
    info = service.engine.info
    return json_answer(
        {
            "tokenizer_class": info.tokenizer_class,
            "bos_token": info.bos_token,
            "eos_token": info.eos_token,
            "pad_token": info.pad_token,
            "chat_template": info.chat_template,
            "model_max_length": info.max_model_len,
            "vocab_size": service.engine.tokenizer.vocabulary_size,
        }
    )


def _text_tokens(service: Service, values: dict[str, object]) -> list[int]:
    fields = Fields(values)
    _check_named_model(service, fields.text("model"))
    prompt = fields.text("prompt")
    add_special = fields.flag("add_special_tokens", default=True)
    fields.finish()
    if prompt is None:
        raise bad_request("give 'prompt' or 'messages'.", "prompt")
    return service.engine.tokenizer.encode(prompt, add_special=add_special)


def _chat_tokens(service: Service, values: dict[str, object]) -> tuple[int, ...]:
    values.pop("add_special_tokens", None)
    named = {"model": service.engine.info.name, **values}
    parsed: ChatCall = parse_chat(named)
    check_model(service, parsed.call.model)
    return encode_chat(service, parsed)


def _check_named_model(service: Service, model: str | None) -> None:
    if model is not None:
        check_model(service, model)
