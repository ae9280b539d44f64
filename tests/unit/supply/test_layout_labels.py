"""Labels read from OCI layouts, also from broken and hostile ones."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from evaldock.pins import local_platform
from evaldock.supply.layout_labels import labels_in_layout
from evaldock_entrypoints.contract.errors import PinError, UsageError

LABELS = {"io.evaldock.harness": "{}"}


def put(folder: Path, document: object) -> str:
    """Store a JSON document as a blob and return its digest."""
    content = json.dumps(document).encode()
    name = hashlib.sha256(content).hexdigest()
    (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    (folder / "blobs" / "sha256" / name).write_bytes(content)
    return f"sha256:{name}"


def image(folder: Path, labels: dict[str, str] | None) -> str:
    config = put(folder, {"architecture": "amd64", "config": {"Labels": labels}})
    return put(folder, {"schemaVersion": 2, "config": {"digest": config, "size": 1}, "layers": []})


def index(folder: Path, **names: str) -> None:
    manifests: list[dict[str, Any]] = [
        {"digest": digest, "annotations": {"org.opencontainers.image.ref.name": name}}
        for name, digest in names.items()
    ]
    folder.mkdir(exist_ok=True)
    (folder / "index.json").write_text(json.dumps({"manifests": manifests}), encoding="utf-8")


def test_the_only_image_needs_no_name(tmp_path: Path) -> None:
    index(tmp_path, one=image(tmp_path, LABELS))
    assert labels_in_layout(tmp_path) == labels_in_layout(tmp_path, "one") == LABELS


def test_of_several_images_one_is_named(tmp_path: Path) -> None:
    index(tmp_path, one=image(tmp_path, LABELS), two=image(tmp_path, None))
    assert labels_in_layout(tmp_path, "two") == {}
    for name in (None, "three"):
        with pytest.raises(UsageError) as caught:
            labels_in_layout(tmp_path, name)
        assert str(caught.value.next_step).endswith("of: one, two")


def test_an_image_for_several_platforms_is_that_of_this_machine(tmp_path: Path) -> None:
    system, _, machine = local_platform().partition("/")
    entries = [
        {"digest": image(tmp_path, {}), "platform": {"os": "plan9", "architecture": machine}},
        {"digest": image(tmp_path, LABELS), "platform": {"os": system, "architecture": machine}},
    ]
    index(tmp_path, all=put(tmp_path, {"schemaVersion": 2, "manifests": entries}))
    assert labels_in_layout(tmp_path) == LABELS
    index(tmp_path, others=put(tmp_path, {"schemaVersion": 2, "manifests": entries[:1]}))
    with pytest.raises(UsageError, match="not made for linux/"):
        labels_in_layout(tmp_path)


def test_a_blob_that_is_not_what_its_digest_says_is_a_pin_error(tmp_path: Path) -> None:
    index(tmp_path, one=image(tmp_path, LABELS))
    for blob in (tmp_path / "blobs" / "sha256").iterdir():
        good = blob.read_bytes()
        blob.write_bytes(good + b" ")
        with pytest.raises(PinError, match="not what its digest says"):
            labels_in_layout(tmp_path)
        blob.write_bytes(good)


@pytest.mark.parametrize("digest", ["sha256:../../../secret", "md5:00", "sha256:" + "0" * 64])
def test_no_digest_leads_out_of_the_layout(tmp_path: Path, digest: str) -> None:
    layout = tmp_path / "layout"
    (tmp_path / "secret").write_text("{}", encoding="utf-8")
    index(layout, one=digest)
    with pytest.raises((PinError, UsageError)):
        labels_in_layout(layout)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"manifests": 3}', b" " * (5 * 1024**2)])
def test_a_malformed_or_huge_index_is_a_pin_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "index.json").write_bytes(content)
    with pytest.raises(PinError):
        labels_in_layout(tmp_path)


def test_a_folder_without_an_index_is_no_layout(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no complete OCI layout"):
        labels_in_layout(tmp_path)
