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
from evaldock_entrypoints.exchanges.frame import MAX_PAYLOAD_BYTES, Kind, encode
from evaldock_entrypoints.exchanges.segments import SUFFIX, TIME_DIGITS, segment_paths

BATCH_RECORDS = 64
BATCH_S = 1.0
_BATCH_BYTES = 4 * 1024**2  # large answers do not pile up for a second
SEGMENT_BYTES = 256 * 1024**2
_BACKLOG_BYTES = 128 * 1024**2
_STUCK_S = 300.0
_LEVEL = 1
_NO_FILE = -1


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

    `append` returns at once, unless the disk is 128 MiB behind. A batch is written and synced after 64
    records, 4 MiB or one second, whichever comes first; that much a kill may cost. What fails is raised by
    every later call. Only one thread may call it.
    """

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._segments = _Segments(folder, segment_bytes)
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self._entries: list[Entry] = []
        self._backlog_bytes = 0  # appended and not yet on disk
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
        size_bytes = _size_bytes(entry)
        if size_bytes > MAX_PAYLOAD_BYTES:
            raise ExecutionError(
                f"one exchange takes {_mib(size_bytes)}: {_mib(MAX_PAYLOAD_BYTES)} at most",
                next_step="ask for shorter answers: max_new_tokens",
            )
        with self._state:
            if self._problem is not None:
                raise self._failure(self._problem)
            if self._is_closing:
                raise ExecutionError(
                    "the store of exchanges is closed",
                    where=str(self._segments.folder),
                    next_step="a fault of evaldock; the same command resumes",
                )
            self._entries.append(entry)
            self._appended += 1
            self._backlog_bytes += size_bytes
            if self._is_due():
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
            self._wait()
        self._thread.join()

    def _wait(self) -> None:
        wanted = self._appended
        self._is_flushing = True
        self._state.notify_all()
        is_done = self._state.wait_for(
            lambda: self._written >= wanted or self._problem is not None, timeout=_STUCK_S
        )
        if self._problem is not None:
            raise self._failure(self._problem)
        if not is_done:
            raise ExecutionError(
                f"exchanges cannot be written: the disk has not kept up for {_STUCK_S:.0f} s",
                where=str(self._segments.path),
                next_step="see whether the file system hangs; the same command resumes",
            )

    def _run(self) -> None:
        try:
            while self._write_batch():
                pass
        except BaseException as problem:
            with self._state:
                self._problem = problem
                self._state.notify_all()
            if not isinstance(problem, OSError):
                raise  # a fault of ours: its traceback is worth printing
        finally:
            self._segments.close()

    def _write_batch(self) -> bool:
        """Wait for a batch and write it; return whether there is more to come."""
        with self._state:
            self._state.wait_for(self._is_due, timeout=BATCH_S)
            entries, self._entries = self._entries, []
            self._is_flushing = False
            is_last = self._is_closing
        self._write(entries)
        size_bytes = sum(map(_size_bytes, entries))
        with self._state:
            self._written += len(entries)
            self._backlog_bytes -= size_bytes
            self._state.notify_all()
        return not is_last

    def _is_due(self) -> bool:
        is_full = len(self._entries) >= BATCH_RECORDS or self._backlog_bytes >= _BATCH_BYTES
        return self._is_closing or self._is_flushing or (is_full and bool(self._entries))

    def _write(self, entries: list[Entry]) -> None:
        if not entries:
            return
        records = [self._encoded(entry) for entry in entries]
        path, offset = self._segments.write(b"".join(records))
        for entry, record in zip(entries, records, strict=True):
            if entry.is_written is not None:
                entry.is_written(path, offset)
            offset += len(record)

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

    def _failure(self, problem: BaseException) -> ExecutionError:
        reason = problem.strerror if isinstance(problem, OSError) else repr(problem)
        free = _free(self._segments.folder)
        return ExecutionError(
            f"exchanges cannot be written: {reason}",
            where=f"{self._segments.path}: {_mib(self._backlog_bytes)} to write, {free} free",
            next_step="make room, or keep the results elsewhere; the same command resumes",
        )


class _Segments:
    """The files of one writer, of which the last grows; none is made before there is something to write."""

    def __init__(self, folder: Path, segment_bytes: int) -> None:
        self.folder = folder
        self.path = folder  # of the file that grows, once there is one
        self._segment_bytes = segment_bytes
        self._file = _NO_FILE
        self._offset = 0

    def write(self, data: bytes) -> tuple[Path, int]:
        """Write and sync; return where the data begin. Raises OSError."""
        if self._file == _NO_FILE or self._offset >= self._segment_bytes:
            self._begin()
        offset = self._offset
        left = memoryview(data)
        while left:
            left = left[os.write(self._file, left) :]
        os.fsync(self._file)
        self._offset += len(data)
        return self.path, offset

    def close(self) -> None:
        """Close the file that grows."""
        if self._file != _NO_FILE:
            os.close(self._file)
            self._file = _NO_FILE

    def _begin(self) -> None:
        self.close()
        self.path = self.folder / _new_name(self.folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self.path, flags, 0o644)
        self._offset = 0
        _sync_folder(self.folder)


def _new_name(folder: Path) -> str:
    """Return a name that sorts behind all that are there, also where the clock was set back."""
    paths = segment_paths(folder)
    newest = int(paths[-1].name[:TIME_DIGITS]) if paths else 0
    return f"{max(time.time_ns(), newest + 1):0{TIME_DIGITS}d}-{secrets.token_hex(4)}{SUFFIX}"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size_bytes(entry: Entry) -> int:
    return len(entry.header) + sum(map(len, entry.payload))


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:.1f} MiB"


def _free(folder: Path) -> str:
    try:
        return _mib(shutil.disk_usage(folder).free)
    except OSError:
        return "an unknown size"
