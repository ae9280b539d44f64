"""Takes the connections that come to a listening socket which somebody else holds as well.

A harness that handed its socket over may keep it: it can make it blocking while we accept, or take a
connection away before we do. accept waits then, whatever was asked of it, so a thread of its own does.
"""

import asyncio
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

_PAUSE_S = 0.2


class Acceptor:
    """Hands each connection to the loop, which runs in the thread that makes this; one at a time."""

    def __init__(
        self, listener: socket.socket, take: Callable[[socket.socket], None], has_room: Callable[[], bool]
    ) -> None:
        self._listener, self._take, self._has_room = listener, take, has_room
        self._loop = asyncio.get_running_loop()
        listener.setblocking(True)
        self._is_taken = threading.Event()
        self._has_ended = threading.Event()
        threading.Thread(target=self._run, name="listener", daemon=True).start()

    def end(self) -> None:
        """Accept nothing more; the socket is closed, for whoever else holds it too."""
        self._has_ended.set()
        self._is_taken.set()
        with suppress(OSError):  # shut down already, by who else holds it
            self._listener.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        with self._listener:
            while not self._has_ended.is_set():
                connection = self._next()
                if connection is None:
                    self._has_ended.wait(_PAUSE_S)
                elif self._has_ended.is_set():
                    connection.close()
                else:
                    self._hand_over(connection)

    def _next(self) -> socket.socket | None:
        """Wait for a connection; return None where there is no room for one, or none to be had for now."""
        if not self._has_room():
            return None
        while not self._has_ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                _wait_until_readable(self._listener)
            except OSError:  # no descriptor left: others must close theirs first
                return None
            else:
                return connection
        return None

    def _hand_over(self, connection: socket.socket) -> None:
        self._is_taken.clear()
        try:
            self._loop.call_soon_threadsafe(self._hand, connection)
        except RuntimeError:  # the loop is closed
            connection.close()
            self._has_ended.set()
            return
        self._is_taken.wait(_PAUSE_S)

    def _hand(self, connection: socket.socket) -> None:
        if self._has_ended.is_set():
            connection.close()
        else:
            self._take(connection)
        self._is_taken.set()


def _wait_until_readable(listener: socket.socket) -> None:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.poll()
