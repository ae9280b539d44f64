"""What an interceptor is: the base of the built-in ones and of a user's own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from evaldock_entrypoints.adapter.call import Answer, Call
from evaldock_entrypoints.contract.errors import EvaldockError
from evaldock_entrypoints.contract.fields import Strict


class NoConfig(Strict):
    """No settings."""


ConfigT = TypeVar("ConfigT", bound=Strict)


@dataclass(frozen=True, kw_only=True)
class Context:
    """What an interceptor knows of the task it works for."""

    task: str  # harness.task
    role: str | None  # of an auxiliary model
    logs: Path  # the task's logs/ folder, which exists
    stop_task: Callable[[EvaldockError], None]  # ends the task: nothing more is asked for it


class Interceptor(Generic[ConfigT]):
    """One step of the chain, made once per task and asked for each request.

    A sub-class overrides what it needs; either hook may be `async def`. What a hook raises fails the
    request, unless the document marks the interceptor as best_effort. Hooks of one interceptor run
    concurrently for several requests and must keep what belongs to one request on the call.
    """

    Config: ClassVar[type[Strict]] = NoConfig
    observes_only: ClassVar[bool] = False  # True: on_response leaves answers as they are, so streams may pass

    def __init__(self, config: ConfigT, context: Context) -> None:
        self.config = config
        self.context = context

    def on_request(self, call: Call) -> Answer | None:  # noqa: ARG002 - for sub-classes
        """Look at or change a request; an answer returned here goes back at once and is not kept."""
        return None

    def on_response(self, call: Call, answer: Answer) -> None:
        """Look at or change an answer, stored or fresh, a failure included (status 400 and above)."""

    async def close(self) -> None:
        """Write what is still to be written: the task is over."""
