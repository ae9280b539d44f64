"""Which of lm-eval's 14,000 task files a task is made of, and what the data at hand changes in them."""

import functools
import lzma
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
INDEX = HERE / "task_files.tsv.xz"  # by list_tasks.py: NAME, FILE, and for a tag its members in FILE's place
SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")
SCORED_INSTEAD = {"sciq": {"test_split"}}  # dropped, so that lm-eval scores the validation split in its place

Config = dict[str, Any]


class RefusedError(Exception):
    """The run would fail, or its score would not mean what it says."""


@dataclass(frozen=True, kw_only=True)
class PackagedTask:
    """One task file of lm-eval."""

    file: Path
    config: Config

    @property
    def name(self) -> str:
        return str(self.config["task"])

    @property
    def shots_split(self) -> str | None:
        """The split that few-shot examples come from; None where the task file holds them."""
        fewshot = self.config.get("fewshot_config") or {}
        if "samples" in fewshot:
            return None
        return self.config.get("fewshot_split") or fewshot.get("split") or self.config.get("training_split")


def tasks_root() -> Path:
    """Return lm-eval's folder of task files."""
    import lm_eval.tasks

    return Path(lm_eval.tasks.__file__).parent


@functools.cache
def index() -> Mapping[str, str]:
    """Return name → task file below lm-eval's folder, or `@` and the names that a tag stands for."""
    lines = lzma.decompress(INDEX.read_bytes()).decode().splitlines()
    return dict(line.split("\t", 1) for line in lines)


def files_of(name: str) -> dict[Path, Config]:
    """Return every task file that a name needs with its content, groups among them; raises RefusedError."""
    from lm_eval.tasks._yaml_loader import load_yaml

    found: dict[Path, Config] = {}
    wanted = [name]
    while wanted:
        entry = index().get(wanted.pop())
        if entry is None:
            continue  # a task that a group's own file defines
        if entry.startswith("@"):
            wanted += entry[1:].split(",")
            continue
        path = tasks_root() / entry
        if path not in found:
            found[path] = load_yaml(path, resolve_func=False)
            wanted += children(found[path])
    if not found:
        raise RefusedError(f"lm-eval has no task {name}")
    return dict(sorted(found.items()))


def children(config: Config) -> Iterator[str]:
    """Yield the names that a group's file lists, those of groups within it too."""
    listed = config.get("task")
    for item in listed if isinstance(listed, list) else ():
        if isinstance(item, str):
            yield item
        elif isinstance(item.get("task"), str):
            yield item["task"]
        else:
            yield item.get("group", "")
            yield from children(item)


def packaged_tasks(files: Mapping[Path, Config]) -> Iterator[PackagedTask]:
    """Yield the tasks that ask for data by its name."""
    for file, config in files.items():
        if isinstance(config.get("task"), str) and "dataset_path" in config:
            yield PackagedTask(file=file, config=config)


@functools.cache
def splits_of(dataset: str, config: str | None) -> frozenset[str]:
    """Return the splits that the data at hand has."""
    import datasets

    return frozenset(datasets.get_dataset_split_names(dataset, config))


def override(
    task: PackagedTask, present: Collection[str], shots: int | None, scored_instead: Collection[str]
) -> Config:
    """Return what must change for data of the `present` splits, empty if nothing; raises RefusedError."""
    config = task.config
    missing = [key for key in SPLITS if config.get(key) is not None and config[key] not in present]
    wanted = config.get("num_fewshot", 0) if shots is None else shots
    if wanted and task.shots_split is not None and task.shots_split not in present:
        raise RefusedError(
            f'{task.name}: {wanted} few-shot examples are wanted from the split "{task.shots_split}", '
            f"and the data of {config['dataset_path']} has {sorted(present)}; set num_fewshot: 0 or mount it"
        )
    if "test_split" in missing and "test_split" not in scored_instead:
        raise RefusedError(
            f"{task.name}: the data of {config['dataset_path']} lacks the split that is scored"
        )
    changes = dict.fromkeys(missing)
    if "fewshot_split" in missing:
        changes["fewshot_config"] = None
    return changes


def task_files(name: str, shots: int | None, folder: Path) -> list[Path]:
    """Return the files lm-eval is to read for a task: its own, or ours in the place of one that must change.

    folder: where ours go, each named by its task. Raises RefusedError.
    """
    files = files_of(name)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.yaml"):
        stale.unlink()
    replaced = {}
    for task in packaged_tasks(files):
        if not Path(task.config["dataset_path"]).is_dir():
            continue  # a script or bare files: nothing is known of its splits
        present = splits_of(task.config["dataset_path"], task.config.get("dataset_name"))
        changes = override(task, present, shots, SCORED_INSTEAD.get(task.name, ()))
        if changes:
            text = yaml.safe_dump({"include": str(task.file), "task": task.name, **changes}, sort_keys=False)
            replaced[task.file] = folder / f"{task.name}.yaml"
            replaced[task.file].write_text(text, encoding="utf-8")
    return [replaced.get(file, file) for file in files]


def read_only_these(files: list[Path]) -> None:
    """Let lm-eval's index read these files in place of its whole folder, which takes seven seconds."""
    from lm_eval.tasks._index import TaskIndex

    TaskIndex._iter_yaml_files = staticmethod(lambda _root: iter(files))
