"""OCI layouts with images of a few bytes."""

import hashlib
import json
from pathlib import Path

from evaldock.supply.layout import blob_path


def put(layout: Path, content: bytes) -> dict[str, str | int]:
    """Write a blob; returns its descriptor."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    path = blob_path(layout, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return {"digest": digest, "size": len(content)}


def layout_with(layout: Path, images: dict[str, list[bytes]]) -> dict[str, str]:
    """Write a layout with these images by reference name (layers given); returns manifest digests."""
    digests = {}
    for name, layers in images.items():
        manifest = {
            "config": put(layout, name.encode()),
            "layers": [put(layout, layer) for layer in layers],
        }
        digests[name] = str(put(layout, json.dumps(manifest).encode())["digest"])
    entries = [
        {"digest": digest, "annotations": {"org.opencontainers.image.ref.name": name}}
        for name, digest in digests.items()
    ]
    (layout / "index.json").write_text(
        json.dumps({"schemaVersion": 2, "manifests": entries}), encoding="utf-8"
    )
    return digests
