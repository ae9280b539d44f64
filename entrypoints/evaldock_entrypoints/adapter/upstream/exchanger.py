"""What asking over HTTP means, for the two ways that Address.way tells apart, with the same failures.

plain.py asks plain http without a proxy, the usual local server, over connections of our own (140 µs of
processor time per request, with aiohttp's client 225); library.py leaves https and proxies to aiohttp.
"""

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from evaldock_entrypoints.adapter.upstream.addresses import Address
from evaldock_entrypoints.adapter.upstream.reading import Reading
from evaldock_entrypoints.adapter.upstream.reply import Asking

_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})
EVENT_STREAM = "text/event-stream"


class BrokenError(Exception):
    """An attempt that ended without an answer."""


class IdleError(BrokenError):
    """Nothing came for too long in the middle of an answer."""


class NoHttpError(BrokenError):
    """What came is no HTTP response."""


class EndedError(BrokenError):
    """The connection ended before the answer did."""


class UnreachedError(BrokenError):
    """There is no connection to be had; the message says why."""


class TlsError(BrokenError):
    """No agreement on encryption, or on who the other one is."""


class NoDescriptorError(BrokenError):
    """This machine lets us open no further connection."""


class ProxyRefusedError(BrokenError):
    """The site's proxy does not open a way; the message is its status."""


class UnfitError(BrokenError):
    """The answer is one that is not taken, now or later; the message says why."""


class TooLongError(UnfitError):
    """The body is longer than is taken."""

    def __init__(self, max_body_bytes: int) -> None:
        super().__init__(f"the answer is longer than {max_body_bytes:,} bytes")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What an answer may take. idle_s: between two parts of a body, once the first one has come."""

    deadline: float  # on the loop's clock
    idle_s: float
    max_body_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """An answer as HTTP gave it, decompressed. headers: lower-case names."""

    status: int
    headers: dict[str, str]
    body: bytes


class Exchanger(Protocol):
    """Asks over connections that it keeps between requests. Redirects are answers like others."""

    async def exchange(self, address: Address, asking: Asking, bounds: Bounds, reading: Reading) -> Response:
        """Return the whole answer; a stream of events goes through `reading` part by part.

        Tells `reading` that the head has come. Raises TimeoutError at the deadline, the errors above,
        ValueError for a header that would be two, and what the sink raises.
        """
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


def is_stream(status: int, headers: Mapping[str, str]) -> bool:
    """Tell whether a body is taken part by part."""
    return status == 200 and headers.get("content-type", "").startswith(EVENT_STREAM)


def no_connection(error: OSError) -> BrokenError:
    """Return what an error of connecting means."""
    return NoDescriptorError() if error.errno in _NO_DESCRIPTOR else UnreachedError(_words(error))


def _words(error: OSError) -> str:
    """Return the system's words: asyncio's give no reason. Look-ups of names have numbers of their own."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else str(error.strerror or error)
