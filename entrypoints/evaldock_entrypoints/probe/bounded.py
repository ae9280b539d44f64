"""Bounds on time that hold whatever a server does."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def started(action: Callable[[], T]) -> Future[T]:
    """Begin the action in a thread that keeps no process alive; the future holds its end."""
    future: Future[T] = Future()
    threading.Thread(target=_settle, args=(future, action), daemon=True).start()
    return future


def within(limit_s: float, action: Callable[[], T]) -> T:
    """Return what the action returns; raises TimeoutError after limit_s, and leaves the action to itself.

    A time-out of the socket bounds one read, not an answer that comes byte by byte, and no look-up of a name.
    """
    return started(action).result(max(limit_s, 0.0))


def _settle(future: Future[T], action: Callable[[], T]) -> None:
    try:
        future.set_result(action())
    except BaseException as error:  # noqa: BLE001 - handed over to whoever waits
        future.set_exception(error)
