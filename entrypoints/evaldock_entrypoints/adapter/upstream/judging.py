"""Whether an endpoint's body is an answer: no error, page or torn text is ever taken for one."""

import json
from typing import Any, Literal

import orjson

from evaldock_entrypoints.adapter.sse import assembled
from evaldock_entrypoints.adapter.upstream.failure import Failure

_BAD_GATEWAY = 502
_EVENT_STREAM = "text/event-stream"
_STREAM_STARTS = (b"data:", b"event:", b":")
_SHOWN = 200
Expected = Literal["choices", "embeddings", "anything"]
_MEMBERS = {"choices": "choices", "embeddings": "data"}


def tree_of(body: bytes) -> Any:
    """Return what JSON bytes say, NaN and lone surrogates as servers send them; raises ValueError."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(body)


def judged(body: bytes, content_type: str, expects: Expected) -> tuple[dict[str, Any] | Failure | None, bool]:
    """Return an answer's JSON object (None where it need not be one), and whether it was streamed."""
    if content_type.startswith(_EVENT_STREAM):
        return (_judged_stream(body) if expects == "choices" else None), True
    try:
        tree = tree_of(body)
    except (ValueError, RecursionError):
        if expects == "choices" and body.startswith(_STREAM_STARTS):  # a stream under another name
            return _judged_stream(body), True
        return None if expects == "anything" else invalid(f"the answer is no JSON: {_shown(body)}"), False
    return _judged_tree(tree, body, expects), False


def _judged_tree(tree: Any, body: bytes, expects: Expected) -> dict[str, Any] | Failure | None:
    is_object = isinstance(tree, dict)
    if expects == "anything":
        return tree if is_object else None
    if not is_object:
        return invalid(f"the answer is no JSON object: {_shown(body)}")
    problem = _problem(tree, _MEMBERS[expects])
    return invalid(f"{problem}: {_shown(body)}") if problem else tree


def _judged_stream(body: bytes) -> dict[str, Any] | Failure:
    assembly = assembled(body)
    if assembly.problem:
        return invalid(assembly.problem)
    if not assembly.is_complete:
        return cut("the stream ends without [DONE], and not all of its choices have ended")
    tree = assembly.tree()
    problem = _problem(tree, "choices")
    return invalid(f"{problem}: {_shown(body)}") if problem else tree


def invalid(message: str, *, is_retriable: bool = True) -> Failure:
    """Return the failure of a body that is no answer."""
    return Failure(kind="invalid", message=message, status=_BAD_GATEWAY, is_retriable=is_retriable)


def cut(message: str) -> Failure:
    """Return the failure of an answer that broke off."""
    return Failure(kind="cut", message=message, status=_BAD_GATEWAY)


def _problem(tree: dict[str, Any], name: str) -> str | None:
    if tree.get("error") or tree.get("object") == "error":
        return "the endpoint gives an error as an answer"
    found = tree.get(name)
    if not isinstance(found, list) or not found:
        return f'the answer has no "{name}"'
    for item in found:
        if not isinstance(item, dict):
            return f'"{name}" holds what is no object'
        if item.get("error"):
            return "the endpoint gives an error as a choice"
        if name == "choices" and not isinstance(item.get("message"), dict) and "text" not in item:
            return "a choice has neither message nor text"
    return None


def _shown(body: bytes) -> str:
    return body[:_SHOWN].decode(errors="replace") if body else "it is empty"
