"""Benchmark data that somebody has as JSON lines, laid out as a hub's data set: local_data NAME FROM INTO."""

import gzip
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from evaldock_entrypoints.contract.errors import EvaldockError, UsageError
from evaldock_entrypoints.data.manifest import MANIFEST, Entry, read_manifest, replace_entries, sha256_of


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a benchmark's records lie, and where a hub has them. files: split → name without .jsonl(.gz)."""

    dataset: str
    config: str = "default"
    files: Mapping[str, str]
    columns: frozenset[str]
    license: str


LAYOUTS = {
    "mmlu_pro": Layout(
        dataset="TIGER-Lab/MMLU-Pro",
        files={"test": "test", "validation": "validation"},
        columns=frozenset({"question", "options", "answer", "cot_content", "category"}),
        license="MIT",
    ),
    "gsm8k": Layout(
        dataset="openai/gsm8k",
        config="main",
        files={"train": "train", "test": "test"},
        columns=frozenset({"question", "answer"}),
        license="MIT",
    ),
    "ifeval": Layout(
        dataset="google/IFEval",
        files={"train": "input_data"},
        columns=frozenset({"key", "prompt", "instruction_id_list", "kwargs"}),
        license="Apache-2.0",
    ),
    "math500": Layout(
        dataset="HuggingFaceH4/MATH-500",
        files={"test": "test"},
        columns=frozenset({"problem", "solution", "answer"}),
        license="MIT",
    ),
}


def convert(name: str, source: Path, into: Path) -> list[Entry]:
    """Write a benchmark's splits, card and manifest entries; return those of the splits.

    Raises UsageError where the folder has none of its files, or records without a column that is needed.
    """
    layout = LAYOUTS.get(name)
    if layout is None:
        raise UsageError(
            f'nothing is known of "{name}"', where=f"data/{name}", next_step=f"one of: {', '.join(LAYOUTS)}"
        )
    found = {split: path for split, file in layout.files.items() if (path := _file(source, file))}
    if not found:
        wanted = " or ".join(f"{file}.jsonl" for file in layout.files.values())
        raise UsageError(
            f"{source} holds no data of {name}",
            where=f"FROM={source}",
            next_step=f"name a folder with {wanted}: make data/{name} FROM=FOLDER",
        )
    texts = {split: _checked(path, layout) for split, path in found.items()}
    (into / layout.dataset).mkdir(parents=True, exist_ok=True)
    entries = [_write_split(into, layout, split, text) for split, text in texts.items()]
    replace_entries(into, layout.dataset, [*entries, _write_card(into, layout, list(texts))])
    return entries


def _file(folder: Path, name: str) -> Path | None:
    paths = (folder / f"{name}{suffix}" for suffix in (".jsonl", ".jsonl.gz"))
    return next((path for path in paths if path.is_file()), None)


def _checked(path: Path, layout: Layout) -> bytes:
    """Return a file's lines, one record each; raises UsageError."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = [line for line in content.split(b"\n") if line.strip()]
    for number, line in enumerate(lines, start=1):
        try:
            record: Any = json.loads(line)
        except ValueError as error:
            raise UsageError(
                f"a line is no JSON: {error}",
                where=f"{path}:{number}",
                next_step="give one JSON object a line",
            ) from error
        lacking = layout.columns - set(record if isinstance(record, dict) else ())
        if lacking:
            raise UsageError(
                f"a record has no {', '.join(sorted(lacking))}",
                where=f"{path}:{number}",
                next_step=f"give the records of {layout.dataset}",
            )
    return b"".join(line + b"\n" for line in lines)


def _write_split(into: Path, layout: Layout, split: str, text: bytes) -> Entry:
    path = into / layout.dataset / f"{split}.jsonl"
    path.write_bytes(text)
    described = {"config": layout.config, "split": split, "records": text.count(b"\n")}
    return _entry(into, layout, path) | described


def _write_card(into: Path, layout: Layout, splits: list[str]) -> Entry:
    """Write the header by which the datasets library knows the files."""
    path = into / layout.dataset / "README.md"
    files = [{"split": split, "path": f"{split}.jsonl"} for split in splits]
    header = {"configs": [{"config_name": layout.config, "data_files": files}]}
    path.write_text(f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n", encoding="utf-8")
    return _entry(into, layout, path)


def _entry(into: Path, layout: Layout, path: Path) -> Entry:
    return {
        "dataset": layout.dataset,
        "path": path.relative_to(into).as_posix(),
        "sha256": sha256_of(path),
        "license": layout.license,
        "source": "a local folder",
    }


def main(arguments: list[str]) -> int:
    """Convert one benchmark; returns the exit code."""
    if len(arguments) != 3:
        sys.stderr.write("usage: make data/NAME FROM=FOLDER\n")
        return 2
    name, source, into = arguments[0], Path(arguments[1]), Path(arguments[2])
    try:
        entries = convert(name, source, into)
    except EvaldockError as error:
        sys.stderr.write(f"evaldock: error: {error.message}\n  {error.where}\n  next: {error.next_step}\n")
        return int(error.exit_code)
    for entry in entries:
        sys.stdout.write(f"{into / entry['path']}: {entry['records']} records\n")
    sys.stdout.write(
        f"{into / MANIFEST}: {len(read_manifest(into))} files; use it with -o data.path={into}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
