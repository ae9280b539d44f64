"""Counts answers, tokens, latencies and finish reasons of a task as it runs."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from evaldock_entrypoints.adapter.call import Answer, Call
from evaldock_entrypoints.adapter.interceptor import Context, Interceptor
from evaldock_entrypoints.adapter.interceptors.json_lines import log_path
from evaldock_entrypoints.adapter.interceptors.shapes import choices_of
from evaldock_entrypoints.contract import answer_interceptors as contract
from evaldock_entrypoints.contract.files import write_json

_PAUSE_S = 1.0  # between two writes: a fast endpoint gives hundreds of answers in that time


@dataclass(kw_only=True)
class _Sum:
    """A sum over the answers that say a figure."""

    count: int = 0
    total: float = 0.0
    largest: float = 0.0

    def add(self, value: float | None) -> None:
        if value is not None:
            self.count += 1
            self.total += value
            self.largest = max(self.largest, value)

    def as_tree(self) -> dict[str, float | None]:
        average = self.total / self.count if self.count else None
        return {"count": self.count, "total": self.total, "average": average, "max": self.largest}


class ResponseStats(Interceptor[contract.ResponseStats]):
    """logs/response_stats.json: a running view; metrics.json is made from the exchanges."""

    Config = contract.ResponseStats
    observes_only = True

    def __init__(self, config: contract.ResponseStats, context: Context) -> None:
        super().__init__(config, context)
        self._path = log_path(context, "response_stats", ".json")
        self._statuses: Counter[str] = Counter()
        self._finish_reasons: Counter[str] = Counter()
        self._answers = self._cached = self._tool_calls = 0
        self._figures = {
            name: _Sum() for name in ("prompt_tokens", "completion_tokens", "reasoning_tokens", "latency_ms")
        }
        self._writing: asyncio.Future[None] | None = None
        self._written_at = float("-inf")

    def on_response(self, call: Call, answer: Answer) -> None:  # noqa: ARG002 - of the hook
        """Count the answer, a failure too; write now and then, without anybody waiting."""
        self._answers += 1
        self._cached += answer.cached
        self._statuses[str(answer.status)] += 1
        self._finish_reasons.update(answer.facts.finish_reasons)
        for name, figure in self._figures.items():
            figure.add(getattr(answer.facts, name))
        if "tool_calls" in answer.facts.finish_reasons:
            self._tool_calls += _tool_calls(answer)
        if self._answers % self.config.interval == 0:
            self._write_beside()

    async def close(self) -> None:
        """Write the last state; raises OSError."""
        if self._writing is not None:
            await self._writing
        if self._answers:
            write_json(self._path, self._as_tree())

    def _write_beside(self) -> None:
        """Write without anybody waiting, one at a time; raises OSError where the last time failed."""
        now = time.monotonic()
        if now < self._written_at + _PAUSE_S or (self._writing is not None and not self._writing.done()):
            return
        self._written_at = now
        if self._writing is not None:
            self._writing.result()
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(None, write_json, self._path, self._as_tree())

    def _as_tree(self) -> dict[str, Any]:
        return {
            "answers": self._answers,
            "cached": self._cached,
            "status_codes": dict(self._statuses),
            "finish_reasons": dict(self._finish_reasons),
            "tool_calls": self._tool_calls,
            **{name: figure.as_tree() for name, figure in self._figures.items()},
        }


def _tool_calls(answer: Answer) -> int:
    messages = [choice.get("message") for choice in choices_of(answer.body.tree)]
    calls = [message.get("tool_calls") for message in messages if isinstance(message, dict)]
    return sum(len(one) for one in calls if isinstance(one, list))
