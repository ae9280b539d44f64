"""Calling skopeo, which reads and copies images between stores, engines and registries."""

import subprocess
from collections.abc import Sequence

from evaldock_entrypoints.contract.errors import ExecutionError, UsageError


def run_skopeo(argv: Sequence[str], *, timeout_s: float, where: str) -> subprocess.CompletedProcess[str]:
    """Return how a command ended; raises UsageError without skopeo, ExecutionError when it does not end.

    where: what it works on, for the error.
    """
    try:
        return subprocess.run(
            ["skopeo", *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise UsageError(
            "images are read and copied by skopeo, and it is not here",
            where=where,
            next_step="install it as root: apt-get install skopeo",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ExecutionError(
            f"skopeo does not end within {timeout_s:g} s",
            where=where,
            next_step="see that the registry or the engine answers, and that the disk is not full",
        ) from error
