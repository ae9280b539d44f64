"""Says how many answers were delivered: in a file, and at an address of the user's own."""

import asyncio
import logging

import aiohttp

from evaldock_entrypoints.adapter.call import Answer, Call
from evaldock_entrypoints.adapter.interceptor import Context, Interceptor
from evaldock_entrypoints.contract import answer_interceptors as contract
from evaldock_entrypoints.contract.files import write_bytes

_TOLD_EVERY_S = 0.2  # at most so often, however fast answers come
_CLOSING_S = 3.0

_LOG = logging.getLogger(__name__)


class ProgressTracking(Interceptor[contract.ProgressTracking]):
    """Counts what the harness got, stored answers included: a resumed run reaches its end as well.

    Telling happens beside the requests, one at a time, and its failure fails nothing: it is said once.
    """

    Config = contract.ProgressTracking
    observes_only = True

    def __init__(self, config: contract.ProgressTracking, context: Context) -> None:
        super().__init__(config, context)
        name = "progress" if context.role is None else f"progress.{context.role}"
        self._path = context.logs.parent / name
        self._count = self._told = 0
        self._telling: asyncio.Task[None] | None = None
        self._timer: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None
        self._has_complained = False

    def on_response(self, call: Call, answer: Answer) -> None:  # noqa: ARG002 - of the hook
        """Count the answer, and have it told where it is time."""
        if answer.status >= 400:
            return
        self._count += 1
        if self.config.interval_seconds is not None and self._timer is None:
            self._timer = asyncio.create_task(self._keep_telling(self.config.interval_seconds))
        if self._count % self.config.interval == 0:
            self._wake()

    async def close(self) -> None:
        """Tell the last count."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            async with asyncio.timeout(_CLOSING_S):
                if self._telling is not None:
                    await self._telling
                if self._told < self._count:
                    await self._tell(self._count)
        except TimeoutError as error:
            self._complain(error)
        if self._session is not None:
            await self._session.close()

    def _wake(self) -> None:
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_all())

    async def _tell_all(self) -> None:
        """Tell the count until it stands still or is not due."""
        while self._told < self._count - self._count % self.config.interval:
            await self._tell(self._count)
            await asyncio.sleep(_TOLD_EVERY_S)

    async def _keep_telling(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            if self._told < self._count and (self._telling is None or self._telling.done()):
                self._telling = asyncio.create_task(self._tell(self._count))

    async def _tell(self, count: int) -> None:
        self._told = count
        try:
            await asyncio.to_thread(write_bytes, self._path, f"{count}\n".encode())
            if self.config.url is not None:
                await self._send(self.config.url, count)
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            self._complain(error)

    async def _send(self, url: str, count: int) -> None:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self.config.timeout_s)
            self._session = aiohttp.ClientSession(timeout=timeout)
        told = {"samples_processed": count, "task": self.context.task}
        async with self._session.request(self.config.request_method, url, json=told) as response:
            response.raise_for_status()

    def _complain(self, error: Exception) -> None:
        if not self._has_complained:
            self._has_complained = True
            _LOG.warning(
                "%s: progress was not told: %s", self.context.task, str(error) or "no answer in time"
            )
