"""Folders in which containers write: whoever acts in them on this machine follows no link of theirs."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class LedAstrayError(Exception):
    """A link, or what is no folder, where one of ours belongs; the message is a sentence."""


@contextmanager
def folder_below(root: Path, path: str | Path) -> Iterator[Path]:
    """Yield the folder `path` below root by a name that stays its own, made where it is missing.

    Links above root are followed, below it none. Raises LedAstrayError, or OSError where it cannot be made.
    """
    number = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in Path(path).parts:
            inner = _step(number, part)
            os.close(number)
            number = inner
        yield Path(f"/proc/self/fd/{number}")
    finally:
        os.close(number)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file in the place of whatever stands there; raises OSError, also where one cuts in."""
    take_away(path)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), "wb") as file:
        yield file


def take_away(path: Path) -> None:
    """Remove what stands here, be it a file, a link or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _step(number: int, part: str) -> int:
    """Return the descriptor of a folder in the one that `number` is of."""
    if not _is_there(number, part):
        os.mkdir(part, dir_fd=number)
    try:
        return os.open(part, _FLAGS, dir_fd=number)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise LedAstrayError(f"{part} is a link, or no folder") from error
        raise


def _is_there(number: int, part: str) -> bool:
    try:
        os.lstat(part, dir_fd=number)
    except FileNotFoundError:
        return False
    return True
