"""What builds leave behind, and taking it away."""

import pytest
from tests.containers.supply.sites import Site

from evaldock.supply import buildah
from evaldock.supply.cleaning import clean_images
from evaldock.supply.layout import blob_path, is_complete, layer_digests
from evaldock.supply.mounts import mounts_below

pytestmark = [pytest.mark.containers, pytest.mark.slow]


def test_older_builds_go_and_the_newest_stays_built(site: Site) -> None:
    old = site.build("tiny")["tiny"]
    (site.checkout / "harnesses/tiny/results.py").write_text("# newer\n", encoding="utf-8")
    new = site.build("tiny")

    with site.active():
        clean_images(report=lambda _: None)
        storage = buildah.default_storage()
        held = buildah.has_image(storage, buildah.local_name(new["tiny"].reference))
        stale = buildah.has_image(storage, buildah.local_name(old.reference))
        buildah.release(storage)

    assert not blob_path(site.store, old.digest).exists()
    assert all(is_complete(site.store, image.digest) for image in new.values())
    assert (held, stale) == (True, False)
    assert site.build("tiny") == new
    assert mounts_below(site.folder) == []


def test_edited_entrypoints_compress_no_layer_of_the_environment_again(site: Site) -> None:
    before = site.build("tiny")["tiny"]
    written_ns = {
        digest: blob_path(site.store, digest).stat().st_mtime_ns
        for digest in layer_digests(site.store, before.digest)
    }
    source = site.checkout / "entrypoints/evaldock_entrypoints/command_line.py"
    text = source.read_text(encoding="utf-8")
    source.write_text(text + "# edited\n", encoding="utf-8")
    try:
        after = site.build("tiny")["tiny"]
    finally:
        source.write_text(text, encoding="utf-8")

    kept = set(layer_digests(site.store, after.digest)) & set(written_ns)
    assert len(kept) == len(written_ns) - 1
    assert {digest: blob_path(site.store, digest).stat().st_mtime_ns for digest in kept} == {
        digest: written_ns[digest] for digest in kept
    }
