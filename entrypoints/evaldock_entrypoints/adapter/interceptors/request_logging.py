"""Logs the first requests of a task."""

import time
from typing import Any

from evaldock_entrypoints.adapter.call import Call
from evaldock_entrypoints.adapter.interceptor import Context, Interceptor
from evaldock_entrypoints.adapter.interceptors.json_lines import JsonLines, shown_body, shown_headers
from evaldock_entrypoints.contract import answer_interceptors as contract


class RequestLogging(Interceptor[contract.RequestLogging]):
    """logs/requests.jsonl, as requests leave this step."""

    Config = contract.RequestLogging

    def __init__(self, config: contract.RequestLogging, context: Context) -> None:
        super().__init__(config, context)
        self._log = JsonLines(context, "requests")
        self._logged = 0

    def on_request(self, call: Call) -> None:
        """Write a line while there are few; raises OSError."""
        if self.config.max_requests is not None and self._logged >= self.config.max_requests:
            return
        self._logged += 1
        line: dict[str, Any] = {"time": time.time(), "route": call.route}
        if self.config.log_request_headers:
            line["headers"] = shown_headers(call.headers)
        if self.config.log_request_body:
            line["body"] = shown_body(call.body)
        self._log.write(line)

    async def close(self) -> None:
        """Write what is buffered."""
        self._log.close()
