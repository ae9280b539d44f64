"""Data that somebody has as JSON lines becomes a hub's data set."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from evaldock.benchmark_data import verify
from evaldock.local_data import convert, main
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.data.manifest import read_manifest

QUESTION = {"question": "1 + 1?", "options": ["1", "2"], "answer": "B", "cot_content": "", "category": "math"}


def written(folder: Path, name: str, *rows: dict[str, Any]) -> Path:
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    if name.endswith(".gz"):
        (folder / name).write_bytes(gzip.compress(text.encode()))
    else:
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_each_split_is_counted_hashed_and_named_in_the_card(tmp_path: Path) -> None:
    source = tmp_path / "from"
    source.mkdir()
    written(source, "test.jsonl.gz", QUESTION, QUESTION | {"question": "a line\u2028separator"})
    written(source, "validation.jsonl", QUESTION)
    convert("mmlu_pro", source, tmp_path / "data")
    assert list(verify(tmp_path / "data")) == []
    counts = {
        entry["split"]: entry["records"] for entry in read_manifest(tmp_path / "data") if "split" in entry
    }
    assert counts == {"test": 2, "validation": 1}
    card = (tmp_path / "data/TIGER-Lab/MMLU-Pro/README.md").read_text()
    (config,) = yaml.safe_load(card.split("---\n")[1])["configs"]
    assert config["data_files"][0] == {"split": "test", "path": "test.jsonl"}


def test_a_second_data_set_leaves_the_first_ones_entries(tmp_path: Path) -> None:
    written(tmp_path, "test.jsonl", QUESTION | {"answer": "#### 2"})
    for name in ("mmlu_pro", "gsm8k", "gsm8k"):
        convert(name, tmp_path, tmp_path / "data")
    assert list(verify(tmp_path / "data")) == []
    assert len(read_manifest(tmp_path / "data")) == 4


def test_records_of_another_benchmark_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    written(tmp_path, "test.jsonl", QUESTION, {"question": "1 + 1?", "answer": "2"})
    with pytest.raises(UsageError, match="a record has no category") as refused:
        convert("mmlu_pro", tmp_path, tmp_path / "data")
    assert str(refused.value.where).endswith("test.jsonl:2")
    assert not (tmp_path / "data").exists()


def test_a_folder_without_the_files_or_an_unknown_name_says_what_is_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ifeval", str(tmp_path), str(tmp_path / "data")]) == 2
    assert "input_data.jsonl" in capsys.readouterr().err
    assert main(["nothing", str(tmp_path), str(tmp_path / "data")]) == 2
    assert "mmlu_pro" in capsys.readouterr().err
