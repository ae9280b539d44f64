"""The chain of one task: its interceptors, in the declared order there and in reverse back."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self

from evaldock_entrypoints.adapter.body import Body
from evaldock_entrypoints.adapter.call import Answer, Call
from evaldock_entrypoints.adapter.interceptor import Interceptor

_Hook = Callable[..., Any]

_LOG = logging.getLogger(__name__)


class InterceptorError(Exception):
    """An interceptor failed, and so does the request: fail closed."""

    def __init__(self, name: str, error: Exception) -> None:
        super().__init__(f'the interceptor "{name}" failed: {type(error).__name__}: {error}')
        self.name = name


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """One interceptor of a chain, under the name that the document gives it."""

    name: str
    interceptor: Interceptor[Any]
    best_effort: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    name: str
    hook: _Hook
    is_async: bool
    best_effort: bool


class Chain:
    """Interceptors in order; only the hooks that somebody wrote are called. A context manager."""

    def __init__(self, links: Sequence[Link]) -> None:
        self._links = tuple(links)
        self._requests = [step for link in links if (step := _step(link, "on_request"))]
        self._responses = [step for link in reversed(links) if (step := _step(link, "on_response"))]
        self._complained: set[str] = set()
        self.changes_answers = any(not step_observes(link) for link in links)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        async with AsyncExitStack() as stack:  # all of them, also where one fails
            for link in reversed(self._links):
                stack.push_async_callback(link.interceptor.close)

    async def request(self, call: Call) -> Answer | None:
        """Return an interceptor's own answer, None where the request goes on; raises InterceptorError."""
        for step in self._requests:
            answer = await self._taken(step, call, call)
            if answer is not None:
                return answer
        return None

    async def response(self, call: Call, answer: Answer) -> None:
        """Let the interceptors see the answer, the last one first; raises InterceptorError."""
        for step in self._responses:
            await self._taken(step, answer, call, answer)

    async def _taken(self, step: _Step, changed: Call | Answer, *arguments: object) -> Answer | None:
        restore = _restorer(changed) if step.best_effort else None
        try:
            found = step.hook(*arguments)
            answer: Answer | None = await found if step.is_async else found
            return answer
        except Exception as error:
            failure = InterceptorError(step.name, error)
            if restore is None:
                raise failure from error
            restore()
            self._complain(failure)
            return None

    def _complain(self, failure: InterceptorError) -> None:
        """Say it once: where one request meets it, the next thousand do."""
        if failure.name not in self._complained:
            self._complained.add(failure.name)
            _LOG.warning("%s; the request goes on without it, and so do further ones", failure)


def step_observes(link: Link) -> bool:
    """Tell whether an interceptor leaves answers as they are."""
    kind = type(link.interceptor)
    return kind.observes_only or kind.on_response is Interceptor.on_response


def _restorer(changed: Call | Answer) -> Callable[[], None]:
    """Return what undoes the changes of a step that fails half-way."""
    raw, headers = changed.body.encoded(), dict(changed.headers)
    status = changed.status if isinstance(changed, Answer) else None

    def restore() -> None:
        changed.body, changed.headers = Body(raw), headers
        if isinstance(changed, Answer) and status is not None:
            changed.status = status

    return restore


def _step(link: Link, name: str) -> _Step | None:
    hook: Callable[..., Answer | Awaitable[Answer | None] | None] = getattr(link.interceptor, name)
    if getattr(type(link.interceptor), name) is getattr(Interceptor, name):
        return None
    return _Step(
        name=link.name,
        hook=hook,
        is_async=inspect.iscoroutinefunction(hook),
        best_effort=link.best_effort,
    )
