"""Calls beside each other that are given up, and not waited for, when their time is over."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")
Late = TypeVar("Late")


class Race:
    """Calls that share one deadline. Their threads do not keep the process alive: some calls never return."""

    def __init__(self, within_s: float) -> None:
        self._ends_at_s = time.monotonic() + within_s

    def start(self, call: Callable[[], T], *, late: Late) -> Callable[[], T | Late]:
        """Start the call; return a function that waits for what it returns, `late` after the deadline."""
        future: Future[T] = Future()
        threading.Thread(target=_carry_out, args=(call, future), daemon=True).start()

        def result() -> T | Late:
            wait([future], timeout=max(0.0, self._ends_at_s - time.monotonic()))
            return future.result() if future.done() else late

        return result


def _carry_out(call: Callable[[], T], future: Future[T]) -> None:
    try:
        future.set_result(call())
    except Exception as error:  # noqa: BLE001 - raised again by result()
        future.set_exception(error)
