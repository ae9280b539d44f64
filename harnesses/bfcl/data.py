"""Copy the benchmark's questions and answers out of the installed package: data.py WHEELS_DIR OUT_DIR."""

import hashlib
import json
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

VERSION = "BFCL_v4"
NON_LIVE = (
    *("simple_python", "simple_java", "simple_javascript"),
    *("multiple", "parallel", "parallel_multiple", "irrelevance"),
)
LIVE = tuple(
    f"live_{name}"
    for name in ("simple", "multiple", "parallel", "parallel_multiple", "irrelevance", "relevance")
)
MULTI_TURN = tuple(f"multi_turn_{name}" for name in ("base", "miss_func", "miss_param", "long_context"))
# The functions of conversations; those of memory and web search are left out, as their categories are.
FUNCTIONS = (
    *("gorilla_file_system", "math_api", "message_api", "posting_api", "ticket_api"),
    *("trading_bot", "travel_booking", "vehicle_control"),
)


def package_data() -> Path:
    """Return the package's data folder without importing the package, which takes seconds."""
    spec = find_spec("bfcl_eval")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("data.py: bfcl_eval is not installed here")
    return Path(spec.submodule_search_locations[0]) / "data"


def manifest_entry(category: str, content: bytes) -> dict[str, str | int]:
    """Describe a file of questions by what is in it."""
    return {
        "dataset": VERSION,
        "config": category,
        "split": "test",
        "path": f"{VERSION}/{VERSION}_{category}.json",
        "records": sum(1 for line in content.splitlines() if line.strip()),
        "sha256": hashlib.sha256(content).hexdigest(),
        "license": "Apache-2.0",
        "source": f"bfcl-eval=={version('bfcl-eval')}",
    }


def copy(source: Path, target: Path) -> bytes:
    """Copy a file byte for byte and return its content."""
    content = source.read_bytes()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return content


def main(out_dir: Path) -> None:
    """Write questions, answers, functions and manifest.json."""
    source, target = package_data(), out_dir / VERSION
    entries = []
    for category in (*NON_LIVE, *LIVE, *MULTI_TURN):
        name = f"{VERSION}_{category}.json"
        entries.append(manifest_entry(category, copy(source / name, target / name)))
        if not category.endswith("relevance"):  # nor irrelevance: right is to call something, or nothing
            copy(source / "possible_answer" / name, target / "possible_answer" / name)
    for name in FUNCTIONS:
        copy(source / "multi_turn_func_doc" / f"{name}.json", target / "multi_turn_func_doc" / f"{name}.json")
    (out_dir / "manifest.json").write_text(
        json.dumps({"entries": entries}, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: data.py WHEELS_DIR OUT_DIR")
    main(Path(sys.argv[2]))
