"""Bounds the turns of a conversation, and tells the model what is left."""

import time
from typing import Any

import orjson

from evaldock_entrypoints.adapter.body import Body
from evaldock_entrypoints.adapter.call import Answer, Call
from evaldock_entrypoints.adapter.interceptor import Interceptor
from evaldock_entrypoints.adapter.interceptors.shapes import is_text_part, messages_of
from evaldock_entrypoints.contract import request_interceptors as contract
from evaldock_entrypoints.exchanges.facts import Facts

_WARN, _URGE = 0.80, 0.95  # of max_turns
_SPENT = "session_budget_exhausted"


class TurnCounter(Interceptor[contract.TurnCounter]):
    """A turn is an answer of the model; those before this request stand among its messages."""

    Config = contract.TurnCounter

    def on_request(self, call: Call) -> Answer | None:
        """Return a refusal where all turns are spent; raises ValueError for a request without messages."""
        if call.kind in ("embeddings", "other"):
            return None
        turn = 1 + sum(one.get("role") == "assistant" for one in messages_of(call.body.tree))
        call.notes["turn"] = turn
        if turn > self.config.max_turns:
            return _refusal(turn - 1, self.config.max_turns)
        reminder = self._reminder(turn)
        if reminder:
            self._say(messages_of(call.body.edit()), reminder)
        return None

    def _reminder(self, turn: int) -> str | None:
        left, limit = self.config.max_turns - turn, self.config.max_turns
        match self.config.remind:
            case "periodic" if turn % self.config.interval == 0:
                return f"ENVIRONMENT REMINDER: You have {left} turns left to complete the task."
            case "threshold" if turn >= _URGE * limit:
                return (
                    f"URGENT: Turn {turn}/{limit}, only {left} turns left. "
                    "You MUST provide your final answer NOW. Do not start new work."
                )
            case "threshold" if turn >= _WARN * limit:
                return (
                    f"Turn {turn}/{limit}, {left} turns remaining. "
                    "Begin wrapping up: finish current work and prepare your final answer."
                )
            case _:
                return None

    def _say(self, messages: list[dict[str, Any]], reminder: str) -> None:
        if self.config.position == "system_message":
            messages.append({"role": "system", "content": reminder})
            return
        users = [one for one in messages if one.get("role") == "user"]
        if not users:
            raise ValueError("no message of a user's can carry the reminder")
        users[-1]["content"] = _with(users[-1].get("content"), reminder)


def _with(content: Any, reminder: str) -> Any:
    if isinstance(content, str):
        return f"{content}\n\n{reminder}"
    if isinstance(content, list):
        if content and is_text_part(content[-1]):
            return [*content[:-1], {**content[-1], "text": f"{content[-1]['text']}\n\n{reminder}"}]
        return [*content, {"type": "text", "text": reminder}]
    raise ValueError("the last message of the user's is neither text nor a list of parts")


def _refusal(spent: int, limit: int) -> Answer:
    message = f"the conversation has had {spent} turns, and {limit} are allowed"
    tree = {"error": {"message": message, "type": "rate_limit_error", "code": _SPENT}}
    return Answer(
        status=429,
        body=Body(orjson.dumps(tree)),
        headers={"content-type": "application/json", "x-should-retry": "false"},
        facts=Facts(
            started_at=time.time(), latency_ms=0.0, is_generation=False, error="limit", message=message
        ),
    )
