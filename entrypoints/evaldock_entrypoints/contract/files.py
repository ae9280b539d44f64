"""Atomic writes: a reader sees the old file or the new one, never half of one."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
import zstandard

SCHEMA_FOLDER = ".schema"


@dataclass(frozen=True, kw_only=True)
class SchemaFile:
    """A JSON Schema that stands in .schema/ beside what it describes, so that a copied folder is whole."""

    name: str
    tree: Mapping[str, Any]

    @property
    def path(self) -> str:
        """The schema's place, relative to the file that it describes."""
        return f"{SCHEMA_FOLDER}/{self.name}.json"


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the file by content: temporary file beside it, fsync, rename, fsync of the folder."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(
                descriptor, 0o644
            )  # by its descriptor: beside a running container the name may be another's
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def make_way(path: Path) -> None:
    """Take away the folder that stands where a file of ours belongs: a harness has put it there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, with a final newline."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def write_yaml(path: Path, value: Any, header: str = "", schema: SchemaFile | None = None) -> None:
    """Write YAML in the given key order, below an optional comment header.

    With a schema, that stands beside the file, and the first line tells editors so.
    """
    text = header + yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
    if schema is not None:
        _write_schema(path.parent / schema.path, schema)
        text = schema_comment(schema.path) + text
    write_bytes(path, text.encode())


def schema_comment(path: str) -> str:
    """Return the line by which editors find the schema of a YAML file; the path is relative to the file."""
    return f"# yaml-language-server: $schema={path}\n"


def _write_schema(path: Path, schema: SchemaFile) -> None:
    content = (json.dumps(schema.tree, separators=(",", ":")) + "\n").encode()
    if path.parent.is_symlink() or not path.parent.is_dir():
        path.parent.unlink(missing_ok=True)  # a container may write here: nobody leads our writes elsewhere
    path.parent.mkdir(exist_ok=True)
    make_way(path)
    if path.is_symlink() or not path.is_file() or path.read_bytes() != content:
        write_bytes(path, content)


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


@contextmanager
def open_folder(folder: Path) -> Iterator[int]:
    """Yield a descriptor of a folder: /proc/self/fd/N/NAME is short however long the folder's path."""
    number = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield number
    finally:
        os.close(number)
