"""Write what the installed lm-eval knows: list_tasks.py OUT_DIR, by an interpreter of requirements.lock.

task_files.tsv.xz: NAME, FILE, or for a tag `@` and its members. further_tasks.tsv.zst: NAME, KIND, DATASETS,
one line for each task and each group of tasks of one kind that an endpoint can answer.
"""

import lzma
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from task_files import children, tasks_root

KINDS = {
    "generate_until": "generate",
    "loglikelihood": "logprob",
    "loglikelihood_rolling": "logprob",
    "multiple_choice": "logprob",
}
NAME = re.compile(r"[A-Za-z0-9_.+-]+")
BARE_FILES = {"json", "csv", "parquet", "text", "arrow"}  # a builder's name, not that of a data set

Entries = Mapping[str, Any]


def leaves(name: str, entries: Entries) -> Iterator[Any]:
    """Yield the tasks of a name; None for one that no file of its own defines, or that is a Python class."""
    entry = entries.get(name)
    if entry is None:
        yield None
    elif entry.kind.name == "TASK":
        yield entry
    elif entry.kind.name == "TAG":
        for member in sorted(entry.tags):
            yield from leaves(member, entries)
    elif entry.kind.name == "GROUP":
        for child in children(entry.cfg):
            if child in entries or not _is_inline(child, entry.cfg):
                yield from leaves(child, entries)
    else:
        yield None


def _is_inline(name: str, config: Mapping[str, Any]) -> bool:
    """Whether a name is that of a group which this very file defines."""
    listed = config.get("task")
    inner = [item for item in (listed if isinstance(listed, list) else ()) if isinstance(item, dict)]
    return any(item.get("group") == name or _is_inline(name, item) for item in inner)


def kind_of(config: Mapping[str, Any]) -> str | None:
    """Return how a task is asked; None where an OpenAI endpoint cannot be."""
    if config.get("unsafe_code"):
        return "code"
    if "doc_to_image" in config or "doc_to_audio" in config:
        return None
    return KINDS.get(config.get("output_type", "generate_until"))


def line_of(name: str, entries: Entries) -> str | None:
    """Return a name's line; None where it is no task that can be run by its name alone."""
    if entries[name].kind.name == "TAG" or not NAME.fullmatch(name):
        return None
    found = list(leaves(name, entries))
    if not found or None in found:
        return None
    kinds = {kind_of(entry.cfg) for entry in found}
    if len(kinds) != 1 or None in kinds:
        return None
    paths = {entry.cfg.get("dataset_path") for entry in found}
    named = sorted(path for path in paths if path and path not in BARE_FILES)
    return f"{name}\t{kinds.pop()}\t{','.join(named)}"


def file_of(entry: Any) -> str:
    """Return where an entry stands: its file below lm-eval's folder, or the members of a tag."""
    if entry.yaml_path is None:
        return "@" + ",".join(sorted(entry.tags))
    return str(entry.yaml_path.relative_to(tasks_root()))


def known() -> Entries:
    """Return all of lm-eval's own index."""
    from lm_eval.tasks import TaskManager

    entries: Entries = TaskManager().task_index
    return dict(sorted(entries.items()))


def main(out: Path) -> None:
    """Write both lists."""
    entries = known()
    further = "".join(f"{line}\n" for line in filter(None, (line_of(name, entries) for name in entries)))
    packed = pa.Codec("zstd", 19).compress(further.encode(), asbytes=True)
    (out / "further_tasks.tsv.zst").write_bytes(packed)
    files = "".join(f"{name}\t{file_of(entry)}\n" for name, entry in entries.items())
    (out / "task_files.tsv.xz").write_bytes(lzma.compress(files.encode(), preset=9))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
