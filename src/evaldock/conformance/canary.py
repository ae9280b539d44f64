"""Where a secret value shows: in files that were left behind, compressed or not, and in command lines."""

import io
from collections.abc import Iterator
from pathlib import Path

import zstandard

from evaldock_entrypoints.contract.adapter import EXCHANGES
from evaldock_entrypoints.exchanges.reader import Reader


def found_in(folder: Path, canary: str) -> list[str]:
    """Return the files below the folder that hold the value, and the exchanges that do."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    hits = [str(path) for path in files if canary.encode() in _content(path)]
    for stored in folder.rglob(EXCHANGES):
        hits += [str(stored) for pair in exchanges(stored) if any(canary.encode() in text for text in pair)]
    return hits


def command_lines_with(canary: str) -> list[str]:
    """Return the command lines of this host's processes that hold the value, as `ps` shows them."""
    return [line for line in _command_lines() if canary in line]


def exchanges(store: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield every request of a store with its answer, failed ones included."""
    with Reader(store) as reader:
        for number in range(len(reader.paths)):
            for record in reader.records(number):
                exchange = reader.read(record.place) if hasattr(record.header, "request_bytes") else None
                if exchange is not None:
                    yield exchange.request, exchange.response


def _command_lines() -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            yield (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has just ended


def _content(path: Path) -> bytes:
    raw = path.read_bytes()
    if path.suffix != ".zst":
        return raw
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)) as stream:
        return stream.read()
