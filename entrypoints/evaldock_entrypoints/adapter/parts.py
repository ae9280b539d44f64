"""Puts the parts of a streamed answer together: what comes bit by bit is joined, by choice and tool call."""

from collections.abc import Mapping
from typing import Any

import orjson

_DONE = b"[DONE]"
_REPLACED = frozenset({"role", "type", "id", "index", "finish_reason", "stop_reason", "format", "created"})
_FIRST = frozenset({"id", "object", "created", "model"})  # the first part says them
_CARRIERS = ("content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call", "audio")


class _Text(list[str]):
    """Pieces of a text; adding to a text itself would copy it for each token."""


class Assembly:
    """The parts of one streamed answer so far. problem: an event that is no JSON object, or is an error."""

    def __init__(self) -> None:
        self.is_done = False
        self.carries_content = False  # more than a role: the first token has come
        self.problem: str | None = None
        self._head: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._is_chat = False

    @property
    def is_complete(self) -> bool:
        """Tell whether the stream said that it was over, or each of its choices that it ended."""
        finished = [choice.get("finish_reason") is not None for choice in self._choices.values()]
        return self.is_done or (bool(finished) and all(finished))

    @property
    def is_begun(self) -> bool:
        """Tell whether an event of an answer has come."""
        return bool(self._choices or self._head)

    def add(self, data: bytes) -> None:
        """Add one event's data."""
        if data.strip() == _DONE:
            self.is_done = True
            return
        event = _parsed(data)
        if event is None:
            self.problem = self.problem or f"an event is no JSON object: {_quoted(data)}"
        elif event.get("error") or event.get("object") == "error":
            self.problem = self.problem or f"an event tells an error: {_quoted(data)}"
        else:
            self._add(event)

    def tree(self) -> dict[str, Any]:
        """Return the answer as it would be without streaming."""
        tree = {name: value for name, value in self._head.items() if name != "usage"}
        tree["object"] = "chat.completion" if self._is_chat else tree.get("object", "text_completion")
        tree["choices"] = [_closed(self._choices[index]) for index in sorted(self._choices)]
        if "usage" in self._head:
            tree["usage"] = self._head["usage"]
        return tree

    def _add(self, event: Mapping[str, Any]) -> None:
        for name, value in event.items():
            if name != "choices" and value is not None and (name not in _FIRST or name not in self._head):
                self._head[name] = value
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._add_choice(choice)

    def _add_choice(self, part: Mapping[str, Any]) -> None:
        index = part.get("index")
        index = index if isinstance(index, int) else 0
        choice = self._choices.setdefault(index, {"index": index})
        for name, value in part.items():
            if name in ("delta", "message"):
                self._add_message(choice, value)
            elif name == "text":
                choice[name] = _sum(choice.get(name), value)
                self.carries_content = self.carries_content or bool(value)
            elif name == "logprobs" and isinstance(value, dict):
                choice[name] = _logprobs(choice.get(name), value)
            elif name != "index" and (value is not None or name not in choice):
                choice[name] = value

    def _add_message(self, choice: dict[str, Any], delta: Any) -> None:
        self._is_chat = True
        message = choice.setdefault("message", {"role": "assistant", "content": None})
        if isinstance(delta, dict):
            _join(message, delta)
            self.carries_content = self.carries_content or any(map(delta.get, _CARRIERS))


def _join(whole: dict[str, Any], part: Mapping[str, Any]) -> None:
    for name, value in part.items():
        if name == "tool_calls" and isinstance(value, list):
            _join_calls(whole, value)
        elif value is not None or name not in whole:
            whole[name] = value if name in _REPLACED else _sum(whole.get(name), value)


def _join_calls(message: dict[str, Any], parts: list[Any]) -> None:
    """Join the parts of tool calls; servers that give a part no index give each call in one part."""
    known = message.get("tool_calls")
    calls = known if isinstance(known, list) and not isinstance(known, _Text) else []
    message["tool_calls"] = calls
    for part in parts:
        if isinstance(part, dict):
            _join_call(_call_of(calls, part), part)


def _call_of(calls: list[dict[str, Any]], part: Mapping[str, Any]) -> dict[str, Any]:
    name = "index" if part.get("index") is not None else "id"
    known = [call for call in calls if part.get(name) is not None and call.get(name) == part[name]]
    if not known:
        calls.append({})
    return known[0] if known else calls[-1]


def _join_call(call: dict[str, Any], part: Mapping[str, Any]) -> None:
    for name, value in part.items():
        if name == "function" and isinstance(value, dict):
            _join_function(call.setdefault(name, {}), value)
        elif value not in (None, ""):
            call[name] = value


def _join_function(function: dict[str, Any], part: Mapping[str, Any]) -> None:
    for name, value in part.items():
        is_repeated = name == "name" and value == _plain(function.get(name))  # some servers do with each part
        if value is not None and not is_repeated:
            function[name] = _sum(function.get(name), value)


def _sum(whole: Any, part: Any) -> Any:
    """Return two values of one field together: texts and lists end to end, else the later one."""
    if isinstance(part, str) and (whole is None or isinstance(whole, _Text)):
        whole = _Text() if whole is None else whole
        whole.append(part)
        return whole
    if isinstance(whole, list) and isinstance(part, list) and not isinstance(whole, _Text):
        whole.extend(part)
        return whole
    if isinstance(whole, dict) and isinstance(part, dict):
        _join(whole, part)
        return whole
    if isinstance(part, dict):
        joined: dict[str, Any] = {}
        _join(joined, part)  # so that its texts can grow
        return joined
    return whole if part is None else part


def _logprobs(whole: Any, part: Mapping[str, Any]) -> dict[str, Any]:
    known = whole if isinstance(whole, dict) else {}
    for name, value in part.items():
        if isinstance(known.get(name), list) and isinstance(value, list):
            known[name].extend(value)
        elif known.get(name) is None:
            known[name] = value
    return known


def _closed(choice: dict[str, Any]) -> dict[str, Any]:
    """Return a choice with the members that an answer without streaming has."""
    closed: dict[str, Any] = {name: _plain(value) for name, value in choice.items()}
    message = closed.get("message")
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    if isinstance(message, dict) and isinstance(calls, list):
        message["tool_calls"] = [{n: v for n, v in call.items() if n != "index"} for call in calls]
    return {**closed, "finish_reason": choice.get("finish_reason")}


def _plain(value: Any) -> Any:
    """Return a value with its texts whole."""
    if isinstance(value, _Text):
        return "".join(value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_plain(item) for item in value]
    return value


def _parsed(data: bytes) -> dict[str, Any] | None:
    try:
        tree = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return tree if isinstance(tree, dict) else None


def _quoted(data: bytes) -> str:
    return data[:200].decode(errors="replace")
