"""How many connections this process may hold: each one takes a file descriptor."""

import resource
from contextlib import suppress
from pathlib import Path

_KEPT = 16  # for files: stores, logs, the status
_FEWEST = 2


def raise_limit() -> int:
    """Raise the limit of open files to what is allowed; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def connection_room() -> int:
    """Return how many requests may be open at a time: each has a connection to either side."""
    limit = raise_limit()
    if limit == resource.RLIM_INFINITY:
        limit = 1 << 20
    return max(_FEWEST, (limit - _open_now() - _KEPT) // 2)


def _open_now() -> int:
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:
        return _KEPT
