"""The OCI layout folder that holds every image built here, blobs shared between images."""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.errors import PinError

_REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """What a manifest in the layout says."""

    digest: str
    image_id: str
    size_bytes: int


def stored_image(layout: Path, name: str) -> StoredImage:
    """Return the image of this reference name; raises PinError when the layout does not hold it."""
    for entry in _index(layout)["manifests"]:
        if entry.get("annotations", {}).get(_REF_NAME) == name:
            manifest = _manifest(layout, entry["digest"])
            size_bytes = sum(layer["size"] for layer in manifest["layers"])
            return StoredImage(
                digest=entry["digest"], image_id=manifest["config"]["digest"], size_bytes=size_bytes
            )
    raise PinError(f'the image store holds no "{name}"', where=str(layout), next_step="run `evaldock build`")


def normalise(layout: Path, name: str) -> StoredImage:
    """Rewrite an image's config without what differs between two builds of the same bytes, and return it.

    buildah notes in each history entry the local ID of the step before, which depends on its layer cache.
    """
    stored = stored_image(layout, name)
    manifest = _manifest(layout, stored.digest)
    config = json.loads(blob_path(layout, stored.image_id).read_text(encoding="utf-8"))
    for entry in config["history"]:
        entry.pop("comment", None)
    manifest["config"] |= _put(layout, config)
    descriptor = _put(layout, manifest)
    index = _index(layout)
    for entry in index["manifests"]:
        if entry["digest"] == stored.digest:
            entry |= descriptor
    _write_index(layout, index)
    return stored_image(layout, name)


def is_complete(layout: Path, digest: str) -> bool:
    """Tell whether the layout holds this manifest and all its blobs, by name and size."""
    try:
        manifest = _manifest(layout, digest)
        return all(
            blob_path(layout, part["digest"]).stat().st_size == part["size"]
            for part in [manifest["config"], *manifest["layers"]]
        )
    except (OSError, ValueError, KeyError):
        return False


def layer_digests(layout: Path, digest: str) -> list[str]:
    """Return the (compressed) layer digests of a manifest, base first."""
    return [layer["digest"] for layer in _manifest(layout, digest)["layers"]]


def blob_path(layout: Path, digest: str) -> Path:
    """Return where the layout keeps a blob."""
    return layout / "blobs" / "sha256" / digest.removeprefix("sha256:")


@contextmanager
def single_view(layout: Path, digest: str) -> Iterator[Path]:
    """Give a layout of this one image (blobs linked, not copied) for as long as the block runs.

    skopeo and buildah find a schema-2 manifest in a layout only where it is the single one:
    https://github.com/containers/image/blob/v5.22.1/oci/layout/oci_transport.go (getManifestDescriptor).
    """
    with tempfile.TemporaryDirectory(prefix="evaldock-layout-") as folder:
        view = Path(folder)
        (view / "blobs").symlink_to((layout / "blobs").resolve())
        (view / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', encoding="utf-8")
        entries = [entry for entry in _index(layout)["manifests"] if entry["digest"] == digest][:1]
        (view / "index.json").write_text(
            json.dumps({"schemaVersion": 2, "manifests": entries}), encoding="utf-8"
        )
        yield view


def prune(layout: Path, keep: Iterable[str]) -> int:
    """Drop every image but those with these manifest digests; returns the bytes freed."""
    kept = set(keep)
    index = _index(layout)
    index["manifests"] = [entry for entry in index["manifests"] if entry["digest"] in kept]
    _write_index(layout, index)
    needed = {entry["digest"] for entry in index["manifests"]}
    for digest in list(needed):
        needed |= {_manifest(layout, digest)["config"]["digest"], *layer_digests(layout, digest)}
    return sum(
        _drop(path) for path in (layout / "blobs" / "sha256").iterdir() if f"sha256:{path.name}" not in needed
    )


def _put(layout: Path, document: Mapping[str, Any]) -> dict[str, str | int]:
    """Store a JSON document as a blob and return its descriptor's digest and size."""
    content = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    _replace(blob_path(layout, digest), content)
    return {"digest": digest, "size": len(content)}


def _write_index(layout: Path, index: Mapping[str, Any]) -> None:
    _replace(layout / "index.json", json.dumps(index, sort_keys=True).encode())


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    temporary.replace(path)


def _drop(path: Path) -> int:
    size_bytes = path.stat().st_size
    path.unlink()
    return size_bytes


def _index(layout: Path) -> dict[str, Any]:
    try:
        index: dict[str, Any] = json.loads((layout / "index.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"schemaVersion": 2, "manifests": []}
    return index


def _manifest(layout: Path, digest: str) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(blob_path(layout, digest).read_text(encoding="utf-8"))
    return manifest
