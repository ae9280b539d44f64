"""Writes one segment file after another; a thread of its own writes and syncs in batches."""

import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import zstandard

from evaldock_entrypoints.contract.errors import ExecutionError
from evaldock_entrypoints.exchanges.frame import Kind, encode
from evaldock_entrypoints.exchanges.segments import SUFFIX, segment_paths

BATCH_RECORDS = 64
BATCH_S = 1.0
SEGMENT_BYTES = 256 * 1024**2
_BACKLOG_BYTES = 128 * 1024**2
_STUCK_S = 60.0
_LEVEL = 1


class Entry(NamedTuple):
    """A record on its way to the disk. is_written: told the segment and the offset when it is there."""

    kind: Kind
    status: int
    ordinal: int
    digest: bytes
    header: bytes
    payload: tuple[bytes, ...] = ()
    is_written: Callable[[Path, int], None] | None = None


class Writer:
    """Appends records to segments of its own, named after the time so that they sort.

    `append` returns at once. A batch is written and synced after 64 records or one second, whichever
    comes first; that much a kill may cost. What fails is raised by every later call.
    """

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self._file = _NO_FILE
        self._path = folder
        self._offset = 0
        self._entries: list[Entry] = []
        self._backlog_bytes = 0
        self._appended = 0
        self._written = 0
        self._problem: BaseException | None = None
        self._is_closing = False
        self._is_flushing = False
        self._state = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="exchanges", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def append(self, entry: Entry) -> None:
        """Take a record; raises ExecutionError where an earlier one could not be written."""
        size = len(entry.header) + sum(map(len, entry.payload))
        with self._state:
            if self._problem is not None:
                raise self._failure()
            self._entries.append(entry)
            self._appended += 1
            self._backlog_bytes += size
            if len(self._entries) == BATCH_RECORDS:
                self._state.notify_all()
            if self._backlog_bytes > _BACKLOG_BYTES:
                self._wait()

    def flush(self) -> None:
        """Return when all that was appended is on disk; raises ExecutionError."""
        with self._state:
            self._wait()

    def close(self) -> None:
        """Write what is left and end; raises ExecutionError where that cannot be done."""
        with self._state:
            self._is_closing = True
            self._state.notify_all()
        self._thread.join()
        if self._problem is not None:
            raise self._failure()

    def _wait(self) -> None:
        wanted = self._appended
        self._is_flushing = True
        self._state.notify_all()
        is_done = self._state.wait_for(
            lambda: self._written >= wanted or self._problem is not None, timeout=_STUCK_S
        )
        if self._problem is not None:
            raise self._failure()
        if not is_done:
            raise ExecutionError(
                f"exchanges cannot be written: the disk has taken nothing for {_STUCK_S:.0f} s",
                where=str(self._path),
                next_step="see whether the file system hangs; the same command resumes",
            )

    def _run(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(self._is_due, timeout=BATCH_S)
                entries, self._entries = self._entries, []
                self._is_flushing = False
                is_last = self._is_closing
            try:
                self._write(entries)
            except BaseException as problem:
                self._report(problem)
                if not isinstance(problem, OSError):
                    raise
                return
            with self._state:
                self._written += len(entries)
                self._backlog_bytes = sum(_size(entry) for entry in self._entries)
                self._state.notify_all()
            if is_last:
                self._end_segment()
                return

    def _is_due(self) -> bool:
        return self._is_closing or self._is_flushing or len(self._entries) >= BATCH_RECORDS

    def _report(self, problem: BaseException) -> None:
        with self._state:
            self._problem = problem
            self._state.notify_all()

    def _write(self, entries: list[Entry]) -> None:
        if not entries:
            return
        if self._file == _NO_FILE or self._offset >= self._segment_bytes:
            self._begin_segment()
        places, parts = [], []
        for entry in entries:
            record = self._encoded(entry)
            places.append(self._offset)
            parts.append(record)
            self._offset += len(record)
        _write_whole(self._file, b"".join(parts))
        os.fsync(self._file)
        for entry, place in zip(entries, places, strict=True):
            if entry.is_written is not None:
                entry.is_written(self._path, place)

    def _encoded(self, entry: Entry) -> bytes:
        return encode(
            entry.kind,
            status=entry.status,
            ordinal=entry.ordinal,
            digest=entry.digest,
            header=entry.header,
            payload=b"".join(entry.payload),
            compress=self._compressor.compress,
        )

    def _begin_segment(self) -> None:
        self._end_segment()
        self._path = self._folder / _new_name(self._folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._path, flags, 0o644)
        self._offset = 0
        _sync_folder(self._folder)

    def _end_segment(self) -> None:
        if self._file != _NO_FILE:
            os.close(self._file)
            self._file = _NO_FILE

    def _failure(self) -> ExecutionError:
        problem = self._problem
        reason = problem.strerror if isinstance(problem, OSError) else repr(problem)
        return ExecutionError(
            f"exchanges cannot be written: {reason}",
            where=f"{self._path}: {_size_text(self._backlog_bytes)} to write, {_free(self._folder)} free",
            next_step="make room or give another folder for the results; the same command resumes",
        )


_NO_FILE = -1


def _new_name(folder: Path) -> str:
    """Return a name that sorts behind all that are there, also where the clock was set back."""
    names = [path.name for path in segment_paths(folder)]
    newest = int(names[-1][:20]) if names else 0
    return f"{max(time.time_ns(), newest + 1):020d}-{secrets.token_hex(4)}{SUFFIX}"


def _size(entry: Entry) -> int:
    return len(entry.header) + sum(map(len, entry.payload))


def _write_whole(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size_text(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:.1f} MiB"


def _free(folder: Path) -> str:
    try:
        return _size_text(shutil.disk_usage(folder).free)
    except OSError:
        return "an unknown size"
