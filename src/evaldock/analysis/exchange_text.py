"""What a request asks and what an answer says, in words, for people who look through exchanges."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson


def tree_of(body: bytes) -> Any:
    """Return the JSON value of a body; None where it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def text_of(body: bytes) -> str:
    """Return a body as text, whatever it is."""
    return body.decode("utf-8", "replace")


def asked(body: bytes) -> str:
    """Return the last message, the prompt or the input of a request; the body where it has none."""
    tree = tree_of(body)
    if not isinstance(tree, dict):
        return text_of(body)
    messages = tree.get("messages")
    if isinstance(messages, list) and messages:
        return _content(messages[-1])
    return _plain(tree.get("prompt", tree.get("input", text_of(body))))


def said(body: bytes, *, is_stream: bool) -> str:
    """Return the first choice of an answer, a stream's parts put together; the body where it has none."""
    pieces = _events(body) if is_stream else iter([tree_of(body)])
    choices = [choice for piece in pieces for choice in _first_choice(piece)]
    if not choices:
        return text_of(body)
    return "".join(_choice_text(choice) for choice in choices)


def _first_choice(tree: Any) -> Iterator[Mapping[str, Any]]:
    choices = tree.get("choices") if isinstance(tree, dict) else None
    for choice in choices if isinstance(choices, list) else []:
        if isinstance(choice, dict) and choice.get("index", 0) == 0:
            yield choice


def _choice_text(choice: Mapping[str, Any]) -> str:
    for name in ("message", "delta"):
        if isinstance(choice.get(name), dict):
            return _content(choice[name])
    return _plain(choice.get("text"))


def _content(message: Any) -> str:
    if not isinstance(message, dict):
        return _plain(message)
    content, calls = message.get("content"), message.get("tool_calls")
    return _plain(content) + (_plain(calls) if calls else "")


def _plain(value: Any) -> str:
    """Return text as it is, the text parts of a list, and anything else as JSON."""
    match value:
        case None:
            return ""
        case str():
            return value
        case [{"type": "text", "text": str(text)}, *further]:
            return text + _plain(further)
        case []:
            return ""
    return orjson.dumps(value).decode()


def _events(body: bytes) -> Iterator[Any]:
    for line in text_of(body).splitlines():
        if line.startswith("data:"):
            yield tree_of(line.removeprefix("data:").encode())
