"""The OCI layout."""

import hashlib
import json
from pathlib import Path

import pytest

from evaldock.supply.layout import blob_path, is_complete, normalise, prune, stored_image
from evaldock_entrypoints.contract.errors import PinError


def put(layout: Path, content: bytes) -> dict[str, str | int]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    path = blob_path(layout, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return {"digest": digest, "size": len(content)}


def layout_with(layout: Path, images: dict[str, list[bytes]], config: bytes | None = None) -> dict[str, str]:
    """Write a layout with these images by reference name (layers given); returns manifest digests."""
    digests = {}
    for name, layers in images.items():
        manifest = {
            "config": put(layout, config or name.encode()),
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


def test_size_is_the_sum_of_the_layers(tmp_path: Path) -> None:
    digests = layout_with(tmp_path, {"one": [b"shared", b"own"]})

    image = stored_image(tmp_path, "one")

    assert (image.digest, image.size_bytes) == (digests["one"], 9)


def test_unknown_name_is_a_pin_error(tmp_path: Path) -> None:
    with pytest.raises(PinError, match='no "two"'):
        stored_image(tmp_path, "two")


@pytest.mark.parametrize("damage", ["gone", "short"])
def test_missing_or_short_layer_makes_it_incomplete(tmp_path: Path, damage: str) -> None:
    digests = layout_with(tmp_path, {"one": [b"layer"]})
    assert is_complete(tmp_path, digests["one"])
    layer = blob_path(tmp_path, f"sha256:{hashlib.sha256(b'layer').hexdigest()}")

    layer.unlink() if damage == "gone" else layer.write_bytes(b"lay")

    assert not is_complete(tmp_path, digests["one"])


def test_prune_keeps_shared_layers_of_what_stays(tmp_path: Path) -> None:
    digests = layout_with(tmp_path, {"old": [b"shared", b"old-only"], "new": [b"shared", b"new-only"]})

    freed = prune(tmp_path, [digests["new"]])

    assert is_complete(tmp_path, digests["new"])
    assert not blob_path(tmp_path, digests["old"]).exists()
    assert freed >= len(b"old-only")


def test_config_is_the_same_whatever_the_layer_cache_called_the_steps(tmp_path: Path) -> None:
    digests = set()
    for comment in ("FROM 0123", "FROM 4567"):
        config = json.dumps({"history": [{"created_by": "COPY", "comment": comment}]}).encode()
        layout_with(tmp_path, {"one": [b"layer"]}, config=config)

        digests.add(normalise(tmp_path, "one").digest)
    assert len(digests) == 1
    assert is_complete(tmp_path, digests.pop())
