"""Gives a model its earlier reasoning back, which harnesses leave out of the conversation."""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import orjson

from evaldock_entrypoints.adapter.call import Answer, Call
from evaldock_entrypoints.adapter.interceptor import Context, Interceptor
from evaldock_entrypoints.adapter.interceptors.reasoning_text import FIELDS, Tokens, of_content, of_fields
from evaldock_entrypoints.adapter.interceptors.shapes import choices_of, messages_of, text_of
from evaldock_entrypoints.contract import request_interceptors as contract

_CONVERSATION = "conversation"


class ReasoningReplay(Interceptor[contract.ReasoningReplay]):
    """Reasoning remembered by the conversation up to its answer, so that equal answers do not mix."""

    Config = contract.ReasoningReplay
    observes_only = True

    def __init__(self, config: contract.ReasoningReplay, context: Context) -> None:
        super().__init__(config, context)
        self._tokens = Tokens(start=config.start_reasoning_token, end=config.end_reasoning_token)
        self._memory = _Memory(config.max_entries, config.max_size_mb * 2**20)

    def on_request(self, call: Call) -> None:
        """Put remembered reasoning before the answers of the conversation."""
        if call.kind != "chat":
            return
        found, state = {}, b""
        for at, message in enumerate(messages_of(call.body.tree)):
            state = self._after(state, message)
            if message.get("role") == "assistant" and (reasoning := self._memory.get(state)):
                found[at] = reasoning
        call.notes[_CONVERSATION] = state.hex()
        if found:
            messages = messages_of(call.body.edit())
            call.notes["reasoning_replayed"] = sum(self._apply(messages[at], found[at]) for at in found)

    def on_response(self, call: Call, answer: Answer) -> None:
        """Remember the reasoning of each choice."""
        state = call.notes.get(_CONVERSATION)
        if answer.status >= 400 or not isinstance(state, str):
            return
        for choice in choices_of(answer.body.tree):
            message = choice.get("message")
            if isinstance(message, dict) and (reasoning := self._reasoning(message)).strip():
                key = self._after(bytes.fromhex(state), {**message, "role": "assistant"})
                self._memory.put(key, reasoning.strip("\n"))

    def _reasoning(self, message: Mapping[str, Any]) -> str:
        return of_fields(message) or of_content(message.get("content"), self._tokens)[1].reasoning

    def _after(self, state: bytes, message: Mapping[str, Any]) -> bytes:
        """Return what names the conversation with one message more, whatever of its reasoning is left."""
        content, role = message.get("content"), message.get("role")
        if role == "assistant":
            content = text_of(of_content(content, self._tokens)[0]).strip()
        said = orjson.dumps([role, content, _call_ids(message), message.get("tool_call_id")])
        return hashlib.blake2b(state + said, digest_size=16).digest()

    def _apply(self, message: dict[str, Any], reasoning: str) -> bool:
        """Put reasoning where there is none; return whether the message changed."""
        changed = False
        if self.config.form != "think_tags" and not any(message.get(name) for name in FIELDS):
            message["reasoning_content"] = reasoning
            changed = True
        if self.config.form != "native" and self._tokens.end not in text_of(message.get("content")):
            message["content"] = self._wrapped(message.get("content"), reasoning)
            changed = True
        return changed

    def _wrapped(self, content: Any, reasoning: str) -> Any:
        trace = f"{self._tokens.start}{reasoning}{self._tokens.end}\n"
        if isinstance(content, list):
            return [{"type": "text", "text": trace}, *content]
        return trace + (content or "")


class _Memory:
    """Reasoning by key, bounded by number and size; what was used longest ago goes first."""

    def __init__(self, max_entries: int, max_size_bytes: int) -> None:
        self._entries: OrderedDict[bytes, str] = OrderedDict()
        self._max_entries, self._max_size_bytes = max_entries, max_size_bytes
        self._size_bytes = 0

    def get(self, key: bytes) -> str | None:
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, key: bytes, reasoning: str) -> None:
        self._size_bytes += _size(reasoning) - _size(self._entries.pop(key, ""))
        self._entries[key] = reasoning
        while len(self._entries) > self._max_entries or self._size_bytes > self._max_size_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._size_bytes -= _size(oldest)


def _call_ids(message: Mapping[str, Any]) -> list[Any]:
    """Return what names the tools called: harnesses write the rest of a call anew."""
    calls = message.get("tool_calls")
    return [call.get("id") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def _size(text: str) -> int:
    return 4 * len(text)  # at most, in memory
