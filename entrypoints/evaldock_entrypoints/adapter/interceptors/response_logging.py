"""Logs answers of a task, and each failure with its request."""

import time
from typing import Any

from evaldock_entrypoints.adapter.call import Answer, Call
from evaldock_entrypoints.adapter.interceptor import Context, Interceptor
from evaldock_entrypoints.adapter.interceptors.json_lines import JsonLines, shown_body, shown_headers
from evaldock_entrypoints.contract import answer_interceptors as contract


class ResponseLogging(Interceptor[contract.ResponseLogging]):
    """logs/responses.jsonl, as answers reach this step."""

    Config = contract.ResponseLogging
    observes_only = True

    def __init__(self, config: contract.ResponseLogging, context: Context) -> None:
        super().__init__(config, context)
        self._log = JsonLines(context, "responses")
        self._logged = 0

    def on_response(self, call: Call, answer: Answer) -> None:
        """Write a line; raises OSError."""
        failed = answer.status >= 400 and self.config.log_failed_requests
        is_counted = self.config.max_responses is None or self._logged < self.config.max_responses
        if not (is_counted or failed):
            return
        self._logged += 1
        line: dict[str, Any] = {
            "time": time.time(),
            "route": call.route,
            "status": answer.status,
            "cached": answer.cached,
            "latency_ms": answer.facts.latency_ms,
        }
        if self.config.log_response_headers:
            line["headers"] = shown_headers(answer.headers)
        if self.config.log_response_body:
            line["body"] = shown_body(answer.body)
        if failed:
            line |= {"error": answer.facts.error, "request": shown_body(call.body)}
        self._log.write(line)

    async def close(self) -> None:
        """Write what is buffered."""
        self._log.close()
