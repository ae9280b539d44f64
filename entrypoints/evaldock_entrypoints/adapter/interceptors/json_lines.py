"""Logs as JSON lines: nothing in them can act on a terminal."""

import json
import os
import time
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from evaldock_entrypoints.adapter.body import Body
from evaldock_entrypoints.adapter.interceptor import Context
from evaldock_entrypoints.contract.secrets import is_secret_name

_FLUSHED_EVERY_S = 1.0
# No link: the harness may write to this folder, and the adapter also to those of other tasks.
_APPENDED = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class JsonLines:
    """A file in the task's logs/, opened with its first line; closed by its owner."""

    def __init__(self, context: Context, name: str) -> None:
        self._path = log_path(context, name, ".jsonl")
        self._file: BinaryIO | None = None
        self._flushed_at = 0.0

    def write(self, tree: dict[str, Any]) -> None:
        """Append a line; raises OSError."""
        if self._file is None:
            self._file = os.fdopen(os.open(self._path, _APPENDED, 0o644), "ab")
        line = orjson.dumps(tree)
        self._file.write((line if line.isascii() else json.dumps(tree).encode()) + b"\n")
        if time.monotonic() - self._flushed_at >= _FLUSHED_EVERY_S:
            self._file.flush()
            self._flushed_at = time.monotonic()

    def close(self) -> None:
        """Write what is buffered."""
        if self._file is not None:
            self._file.close()
            self._file = None


def log_path(context: Context, name: str, suffix: str) -> Path:
    """Return a log's place; an auxiliary model has one of its own."""
    return context.logs / f"{name}{'' if context.role is None else f'.{context.role}'}{suffix}"


def shown_body(body: Body) -> Any:
    """Return a body as a log shows it: its JSON, or the text that it is."""
    return body.tree if body.tree is not None else body.raw.decode(errors="replace")


def shown_headers(headers: dict[str, str]) -> dict[str, str]:
    """Return headers as a log shows them."""
    return {name: "***" if _is_secret(name) else value for name, value in headers.items()}


def _is_secret(name: str) -> bool:
    return is_secret_name(name) or "authorization" in name or "cookie" in name
