"""Logs tokens, finish reasons and latency of every answer, one line each."""

import time

from evaldock_entrypoints.adapter.call import Answer, Call
from evaldock_entrypoints.adapter.interceptor import Context, Interceptor
from evaldock_entrypoints.adapter.interceptors.json_lines import JsonLines
from evaldock_entrypoints.contract.interceptors import NoSettings


class TokenLog(Interceptor[NoSettings]):
    """logs/tokens.jsonl."""

    Config = NoSettings
    observes_only = True

    def __init__(self, config: NoSettings, context: Context) -> None:
        super().__init__(config, context)
        self._log = JsonLines(context, "tokens")

    def on_response(self, call: Call, answer: Answer) -> None:
        """Write a line; raises OSError."""
        facts = answer.facts
        self._log.write(
            {
                "time": time.time(),
                "route": call.route,
                "status": answer.status,
                "model": facts.served_model,
                "prompt_tokens": facts.prompt_tokens,
                "completion_tokens": facts.completion_tokens,
                "reasoning_tokens": facts.reasoning_tokens,
                "finish_reasons": facts.finish_reasons,
                "latency_ms": facts.latency_ms,
                "ttft_ms": facts.ttft_ms,
                "attempts": facts.attempts,
                "cached": answer.cached,
            }
        )

    async def close(self) -> None:
        """Write what is buffered."""
        self._log.close()
