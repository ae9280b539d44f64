"""Writes every generated file of the repository; `make generate`."""

import sys
from pathlib import Path

from scripts.reference.pages import pages, stale

from evaldock.catalogue_file import REGISTRY_FILE
from evaldock.supply.registry_file import registry_text
from evaldock_entrypoints.contract.files import write_bytes

root = Path(__file__).resolve().parents[1]
write_bytes(root / REGISTRY_FILE, registry_text(root).encode())
sys.stdout.write(f"wrote {REGISTRY_FILE}\n")
for name, text in pages().items():  # after the catalogue, whose tasks stand in one of them
    (root / name).parent.mkdir(exist_ok=True)
    write_bytes(root / name, text.encode())
    sys.stdout.write(f"wrote {name}\n")
for path in stale(root):
    path.unlink()
    sys.stdout.write(f"removed {path.relative_to(root)}\n")
