"""Which data a task finds: the image's, and in its place what a user mounts."""

import hashlib
import json
from pathlib import Path

from evaldock_entrypoints.contract.framework import DataSource, Task
from evaldock_entrypoints.data.view import lay_out, manifest_of, mounted_datasets

TASK = Task(
    name="t",
    description="d",
    endpoint_types=["chat"],
    data=[
        DataSource(dataset="openai/gsm8k", config="main", split="test", license="MIT"),
        DataSource(dataset="openai/gsm8k", config="main", split="train", license="MIT", role="fewshot"),
    ],
)


def folder(path: Path, files: dict[str, str], entries: list[dict[str, object]] | None = None) -> Path:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text, encoding="utf-8")
    if entries is not None:
        (path / "manifest.json").write_text(json.dumps({"entries": entries}), encoding="utf-8")
    return path


def entry(dataset: str, split: str = "test", records: int = 3) -> dict[str, object]:
    return {"dataset": dataset, "config": "main", "split": split, "records": records, "sha256": "0"}


def test_a_mounted_data_set_takes_the_place_of_the_images_whole(tmp_path: Path) -> None:
    image = folder(
        tmp_path / "image",
        {"openai/gsm8k/old.jsonl": "old", "openai/other/o.jsonl": "o", "nltk/x": "x"},
        [entry("openai/gsm8k"), entry("openai/other")],
    )
    mine = folder(tmp_path / "mine", {"openai/gsm8k/new.jsonl": "new", "org/more/m": "m"})
    assert mounted_datasets(mine, TASK) == ["openai/gsm8k"]
    view = tmp_path / "view"
    lay_out(view, image, mine, ["openai/gsm8k"])
    lay_out(view, image, mine, ["openai/gsm8k"])  # a second start
    found = {str(path.relative_to(view)): path.read_text() for path in _files(view)}
    found.pop("manifest.json")
    assert found == {
        "openai/gsm8k/new.jsonl": "new",
        "openai/other/o.jsonl": "o",
        "nltk/x": "x",
        "org/more/m": "m",
    }


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return [found for child in path.iterdir() for found in _files(child)]


def test_the_manifest_is_that_of_what_is_used(tmp_path: Path) -> None:
    image = folder(tmp_path / "image", {"a/b/x": "x"}, [entry("openai/gsm8k"), entry("a/b")])
    described = folder(tmp_path / "d", {"openai/gsm8k/x": "x"}, [entry("openai/gsm8k", records=7)])
    assert manifest_of(TASK, image, described) == [entry("a/b"), entry("openai/gsm8k", records=7)]
    bare = folder(tmp_path / "bare", {"openai/gsm8k/x": "x"})
    (hashed,) = [one for one in manifest_of(TASK, image, bare) if one["dataset"] == "openai/gsm8k"]
    assert hashed["sha256"] == hashlib.sha256(b"x").hexdigest()
    assert "records" not in hashed
    assert manifest_of(TASK, image, None) == [entry("openai/gsm8k"), entry("a/b")]


def test_a_folder_without_data_of_the_task_changes_nothing(tmp_path: Path) -> None:
    other = folder(tmp_path / "other", {"org/unrelated/x": "x"})
    assert mounted_datasets(other, TASK) == []
