"""manifest.json of a folder of benchmark data: which files, how many records, and their hashes."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.files import write_json

MANIFEST = "manifest.json"
_CHUNK_BYTES = 1024**2
# dataset, path, sha256, license, source; of what a harness's data.py made also config, split and records
Entry = dict[str, Any]


def read_manifest(folder: Path) -> list[Entry]:
    """Return the entries of a folder's manifest, empty where it has none."""
    path = folder / MANIFEST
    if not path.exists():
        return []
    entries: list[Entry] = json.loads(path.read_text(encoding="utf-8"))["entries"]
    return entries


def replace_entries(folder: Path, dataset: str, entries: Iterable[Entry]) -> None:
    """Replace a data set's entries in a folder's manifest."""
    others = [entry for entry in read_manifest(folder) if entry["dataset"] != dataset]
    write_json(folder / MANIFEST, {"entries": [*others, *entries]})


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
