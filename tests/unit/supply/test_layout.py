"""The OCI layout."""

import hashlib
import json
from pathlib import Path

import pytest
from tests.kit.layouts import layout_with, put

from evaldock.supply.layout import (
    adopt,
    blob_path,
    compressed_layers,
    is_complete,
    layer_digests,
    prune,
    stored_image,
)
from evaldock_entrypoints.contract.errors import PinError


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


def draft_with(draft: Path, layers: dict[str, bytes | None], comment: str = "") -> Path:
    """Write what buildah pushes: one image, known layers (None) by their diff_id alone."""
    config = {"history": [{"comment": comment}], "rootfs": {"diff_ids": list(layers)}}
    manifest = {
        "mediaType": "schema2",
        "config": put(draft, json.dumps(config).encode()),
        "layers": [
            {"digest": diff_id, "size": 0} if layer is None else put(draft, layer)
            for diff_id, layer in layers.items()
        ],
    }
    index = {"manifests": [put(draft, json.dumps(manifest).encode())]}
    (draft / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return draft


def test_config_is_the_same_whatever_the_layer_cache_called_the_steps(tmp_path: Path) -> None:
    store = tmp_path / "store"
    drafts = [
        draft_with(tmp_path / f"draft-{comment}", {"d1": b"x"}, comment) for comment in ("0123", "4567")
    ]

    digests = {adopt(store, draft, draft.name, {}).digest for draft in drafts}

    assert len(digests) == 1
    assert is_complete(store, digests.pop())


def test_known_layer_is_taken_from_the_store_and_only_the_new_one_from_the_draft(tmp_path: Path) -> None:
    store = tmp_path / "store"
    adopt(store, draft_with(tmp_path / "one", {"base": b"base layer"}), "one", {})
    known = compressed_layers(store)

    image = adopt(store, draft_with(tmp_path / "two", {"base": None, "own": b"own layer"}), "two", known)

    assert is_complete(store, image.digest)
    contents = [blob_path(store, digest).read_bytes() for digest in layer_digests(store, image.digest)]
    assert contents == [b"base layer", b"own layer"]
    assert set(compressed_layers(store)) == {"base", "own"}


def test_layers_of_an_image_that_lost_a_blob_are_not_known(tmp_path: Path) -> None:
    store = tmp_path / "store"
    image = adopt(store, draft_with(tmp_path / "one", {"base": b"base layer"}), "one", {})

    blob_path(store, layer_digests(store, image.digest)[0]).unlink()

    assert compressed_layers(store) == {}


def test_newer_image_takes_the_name(tmp_path: Path) -> None:
    store = tmp_path / "store"
    adopt(store, draft_with(tmp_path / "one", {"d1": b"old"}), "one", {})

    newer = adopt(store, draft_with(tmp_path / "two", {"d2": b"new"}), "one", {})

    assert stored_image(store, "one") == newer
