"""The segment files of a folder: found in the order of their time, opened for reading, scanned."""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from evaldock_entrypoints.exchanges.frame import MAGIC, PREFIX_BYTES, Prefix, is_whole_head, parse_prefix

SUFFIX = ".exchanges"
TIME_DIGITS = 20  # of nanoseconds since 1970
_NAME = re.compile(rf"[0-9]{{{TIME_DIGITS}}}-[0-9a-f]{{8}}{re.escape(SUFFIX)}")
_MAGIC = re.compile(re.escape(MAGIC))
_WINDOW_BYTES = 256 * 1024
_NEAR_BYTES = 16 * 1024  # a few records


def segment_paths(folder: Path) -> list[Path]:
    """Return the segments of a folder, the oldest first; none where there is no folder."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []
    return [folder / name for name in names if _NAME.fullmatch(name)]


@dataclass(frozen=True, slots=True)
class Head:
    """A record whose prefix and header are whole; its payload has not been looked at."""

    offset: int
    prefix: Prefix
    header: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of a segment that is no record."""

    offset: int


class Segment:
    """A segment that is open for reading; no link, no device."""

    def __init__(self, path: Path) -> None:
        """Open it; raises OSError."""
        self._file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        state = os.fstat(self._file)
        if not stat.S_ISREG(state.st_mode):
            os.close(self._file)
            raise OSError(f"{path.name} is not a regular file")
        self.size_bytes = state.st_size  # when it was opened: others may still write
        self._window = b""
        self._base = 0

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def head_at(self, offset: int, *, ahead_bytes: int = _NEAR_BYTES) -> Head | None:
        """Return the record that begins here; None where none does. Raises OSError."""
        prefix = parse_prefix(self._take(offset, PREFIX_BYTES, ahead_bytes))
        if prefix is None:
            return None
        head = self._take(offset, PREFIX_BYTES + prefix.header_bytes, ahead_bytes)
        return Head(offset, prefix, head[PREFIX_BYTES:]) if is_whole_head(prefix, head) else None

    def payload_of(self, head: Head) -> bytes:
        """Return the stored bytes of a record's payload, fewer at the end of the file; raises OSError."""
        offset = head.offset + PREFIX_BYTES + head.prefix.header_bytes
        return self._take(offset, head.prefix.stored_bytes, 0)

    def scan(self) -> Iterator[Head | Damage]:
        """Yield all records, and in their places the stretches that are none; raises OSError.

        A record is trusted to end where it says only if another begins there: else the search for the
        next one goes through its payload, from which bytes may be missing.
        """
        offset = searched_from = 0
        while offset < self.size_bytes:
            head = self.head_at(offset, ahead_bytes=_WINDOW_BYTES)
            if self._is_record(head):
                yield head
                searched_from = offset + PREFIX_BYTES + head.prefix.header_bytes
                offset += head.prefix.total_bytes
                continue
            yield Damage(offset)
            offset = self._next_head(searched_from, beside=offset)

    def _next_head(self, offset: int, *, beside: int) -> int:
        """Return where the next record begins, or the end of the file."""
        while offset < self.size_bytes:
            stretch = os.pread(self._file, _WINDOW_BYTES, offset)
            for found in _MAGIC.finditer(stretch):
                place = offset + found.start()
                if place != beside and self._is_record(self.head_at(place)):
                    return place
            offset += max(len(stretch) - len(MAGIC) + 1, 1)
        return self.size_bytes

    def _is_record(self, head: Head | None) -> TypeGuard[Head]:
        return head is not None and head.offset + head.prefix.total_bytes <= self.size_bytes

    def _take(self, offset: int, size: int, ahead_bytes: int) -> bytes:
        """Return bytes of the file, fewer at its end, out of a window that moves along."""
        start = offset - self._base
        if start < 0 or start + size > len(self._window):
            self._window = os.pread(self._file, max(size, ahead_bytes), offset)
            self._base, start = offset, 0
        return self._window[start : start + size]
