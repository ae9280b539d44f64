"""Atomic writes: a reader sees the old file or the new one, never half of one."""

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
import zstandard


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the file by content: temporary file beside it, fsync, rename, fsync of the folder."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, with a final newline."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def write_yaml(path: Path, value: Any, header: str = "") -> None:
    """Write YAML in the given key order, below an optional comment header."""
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
    write_bytes(path, (header + text).encode())


def write_jsonl_zst(path: Path, lines: Iterable[str]) -> None:
    """Write JSON lines, zstd-compressed."""
    content = "".join(f"{line}\n" for line in lines).encode()
    write_bytes(path, zstandard.ZstdCompressor(level=6).compress(content))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
