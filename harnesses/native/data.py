"""Copy this folder's two sets of smoke questions and write their manifest: data.py WHEELS_DIR OUT_DIR."""

import hashlib
import json
import sys
from pathlib import Path

NAMES = ("smoke", "smoke_logprob")
SOURCE = Path(__file__).parent / "data"


def manifest_entry(name: str, content: bytes) -> dict[str, str | int]:
    """Describe a file by what is in it."""
    return {
        "dataset": f"evaldock/{name}",
        "config": "default",
        "split": "test",
        "path": f"{name}/test.jsonl",
        "records": len(content.splitlines()),
        "sha256": hashlib.sha256(content).hexdigest(),
        "license": "Apache-2.0",
        "source": "evaldock",
    }


def main(out_dir: Path) -> None:
    """Write each set byte for byte, and manifest.json beside them."""
    entries = []
    for name in NAMES:
        content = (SOURCE / f"{name}.jsonl").read_bytes()
        target = out_dir / name / "test.jsonl"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        entries.append(manifest_entry(name, content))
    text = json.dumps({"entries": entries}, indent=2, sort_keys=True) + "\n"
    (out_dir / "manifest.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: data.py WHEELS_DIR OUT_DIR")
    main(Path(sys.argv[2]))
