"""Copies a vendor's definition out of its wheel: python -m scripts.vendor WHEEL HARNESS_FOLDER."""

import hashlib
import re
import sys
import zipfile
from pathlib import Path

from evaldock_entrypoints.contract.vendor.folder import COPY


def main(wheel: Path, folder: Path) -> None:
    """Write vendor.yml, and its hash into framework.yml; exits where either has not what it should."""
    declared = folder / "framework.yml"
    for needed in (wheel, declared):
        if not needed.is_file():
            sys.exit(f"{needed}: no such file")
    if not zipfile.is_zipfile(wheel):
        sys.exit(f"{wheel}: is no wheel")
    text = declared.read_text(encoding="utf-8")
    path = re.search(r"^\s*definition:\s*(\S+)", text, re.MULTILINE)
    if path is None:
        sys.exit(f"{declared}: names no vendor.definition")
    with zipfile.ZipFile(wheel) as archive:
        if path[1] not in archive.namelist():
            sys.exit(f"{wheel}: holds no {path[1]}")
        content = archive.read(path[1])
    (folder / COPY).write_bytes(content)
    pinned = rf"\g<1>{hashlib.sha256(content).hexdigest()}"
    changed, count = re.subn(r"^(\s*sha256:\s*)\S+", pinned, text, count=1, flags=re.MULTILINE)
    if not count:
        sys.exit(f"{declared}: has no vendor.sha256 to write to")
    declared.write_text(changed, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m scripts.vendor WHEEL HARNESS_FOLDER")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
