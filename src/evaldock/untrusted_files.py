"""Reads files that a container wrote: no links, no devices, bounded size, errors as sentences."""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import yaml
import zstandard

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_DEPTH = 50
_MAX_SIZE_BYTES = 32 * 1024**2
_MAX_LINE_BYTES = 64 * 1024**2
_MAX_LINES_BYTES = 8 * 1024**3


class UnreadableFileError(Exception):
    """A file that is missing its content, its form or its nature; the message is a sentence."""


class AbsentFileError(UnreadableFileError):
    """There is no such file."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; raises UnreadableFileError."""
    content = _read(path)
    try:
        _refuse_depth(content)
        tree = yaml.load(content, Loader=_LOADER)
    except (yaml.YAMLError, ValueError) as error:
        raise UnreadableFileError(f"{path.name} is not valid YAML: {_sentence(error)}") from error
    return _mapping(path, tree)


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file; raises UnreadableFileError."""
    content = _read(path)
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnreadableFileError(f"{path.name} is not valid JSON: {_sentence(error)}") from error
    return _mapping(path, tree)


def read_text(path: Path) -> str:
    """Return a file as text, with marks for bytes that are none; raises UnreadableFileError."""
    return _read(path).decode(errors="replace")


def iterate_zst_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a zstd-compressed file; raises UnreadableFileError at the point of damage."""
    left_bytes = _MAX_LINES_BYTES
    with _opened(path) as file:
        try:
            with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as reader:
                lines = BufferedReader(reader)
                while line := lines.readline(_MAX_LINE_BYTES):
                    left_bytes -= len(line)
                    if len(line) == _MAX_LINE_BYTES or left_bytes < 0:
                        raise UnreadableFileError(f"{path.name} is too large to read to its end")
                    yield line
        except zstandard.ZstdError as error:
            raise UnreadableFileError(f"{path.name} is damaged: {_sentence(error)}") from error


def is_folder(path: Path) -> bool:
    """Tell whether there is a folder here, and not a link to one."""
    return path.is_dir() and not path.is_symlink()


def _refuse_depth(content: bytes) -> None:
    """Raise ValueError on deep nesting, over which libyaml's composer overflows the stack of the process."""
    depth = 0
    for event in yaml.parse(content, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            raise ValueError(f"it nests more than {_MAX_DEPTH} levels deep")


def _read(path: Path) -> bytes:
    with _opened(path) as file:
        content = file.read(_MAX_SIZE_BYTES + 1)
    if len(content) > _MAX_SIZE_BYTES:
        raise UnreadableFileError(f"{path.name} is larger than {_MAX_SIZE_BYTES // 1024**2} MiB")
    return content


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    # Non-blocking, because opening a named pipe would wait for its writer for ever.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise AbsentFileError(f"{path.name} is missing") from error
    except OSError as error:
        raise UnreadableFileError(f"{path.name} cannot be opened: {_open_problem(path, error)}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableFileError(f"{path.name} is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def _open_problem(path: Path, error: OSError) -> str:
    return "it is a link, and links are not followed" if path.is_symlink() else str(error.strerror)


def _mapping(path: Path, tree: Any) -> dict[str, Any]:
    if not isinstance(tree, dict):
        raise UnreadableFileError(f"{path.name} holds no mapping")
    return {str(key): value for key, value in tree.items()}


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
