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
_LAYOUT_VERSION = '{"imageLayoutVersion": "1.0.0"}'

Descriptor = dict[str, Any]  # mediaType, digest, size: as the OCI image specification has it


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """What a manifest in the layout says."""

    digest: str
    image_id: str
    size_bytes: int


def stored_image(layout: Path, name: str) -> StoredImage:
    """Return the image of this reference name; raises PinError when the layout does not hold it."""
    for entry in _index(layout)["manifests"]:
        if _name(entry) == name:
            manifest = _manifest(layout, entry["digest"])
            size_bytes = sum(layer["size"] for layer in manifest["layers"])
            return StoredImage(
                digest=entry["digest"], image_id=manifest["config"]["digest"], size_bytes=size_bytes
            )
    raise PinError(f'the image store holds no "{name}"', where=str(layout), next_step="run `evaldock build`")


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


def compressed_layers(layout: Path) -> dict[str, Descriptor]:
    """Return the layers that the images of a layout have, by diff_id (digest of the uncompressed bytes)."""
    found: dict[str, Descriptor] = {}
    for entry in _index(layout)["manifests"]:
        if is_complete(layout, entry["digest"]):
            manifest = _manifest(layout, entry["digest"])
            config = json.loads(blob_path(layout, manifest["config"]["digest"]).read_text(encoding="utf-8"))
            found |= zip(config["rootfs"]["diff_ids"], manifest["layers"], strict=True)
    return found


def adopt(layout: Path, draft: Path, name: str, known: Mapping[str, Descriptor]) -> StoredImage:
    """Take the one image of a draft layout over under this name, known layers by their descriptors.

    The config loses what differs between two builds of the same bytes: buildah notes in each history entry
    the local ID of the step before, which depends on its layer cache.
    """
    manifest = _manifest(draft, _index(draft)["manifests"][0]["digest"])
    config = json.loads(blob_path(draft, manifest["config"]["digest"]).read_text(encoding="utf-8"))
    for entry in config["history"]:
        entry.pop("comment", None)
    (layout / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    layers = zip(config["rootfs"]["diff_ids"], manifest["layers"], strict=True)
    manifest["layers"] = [known.get(diff_id) or _moved(layer, draft, layout) for diff_id, layer in layers]
    manifest["config"] |= _put(layout, config)
    entry = {"mediaType": manifest["mediaType"], **_put(layout, manifest), "annotations": {_REF_NAME: name}}
    others = [other for other in _index(layout)["manifests"] if _name(other) != name]
    _write_index(layout, {"schemaVersion": 2, "manifests": [*others, entry]})
    return stored_image(layout, name)


@contextmanager
def single_view(layout: Path, digest: str) -> Iterator[Path]:
    """Give a layout of this one image (blobs linked, not copied) for as long as the block runs.

    skopeo and buildah find a schema-2 manifest in a layout only where it is the single one:
    https://github.com/containers/image/blob/v5.22.1/oci/layout/oci_transport.go (getManifestDescriptor).
    """
    with tempfile.TemporaryDirectory(prefix="evaldock-layout-") as folder:
        view = Path(folder)
        (view / "blobs").symlink_to((layout / "blobs").resolve())
        (view / "oci-layout").write_text(_LAYOUT_VERSION, encoding="utf-8")
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


def _moved(layer: Descriptor, draft: Path, layout: Path) -> Descriptor:
    """Move a layer's blob over; its name is its digest, so an equal one may be replaced."""
    blob_path(draft, layer["digest"]).replace(blob_path(layout, layer["digest"]))
    return layer


def _name(entry: Mapping[str, Any]) -> str | None:
    name: str | None = entry.get("annotations", {}).get(_REF_NAME)
    return name


def _put(layout: Path, document: Mapping[str, Any]) -> dict[str, str | int]:
    """Store a JSON document as a blob and return its descriptor's digest and size."""
    content = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    _replace(blob_path(layout, digest), content)
    return {"digest": digest, "size": len(content)}


def _write_index(layout: Path, index: Mapping[str, Any]) -> None:
    _replace(layout / "oci-layout", _LAYOUT_VERSION.encode())
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
