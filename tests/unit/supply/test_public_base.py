"""A public base image."""

from pathlib import Path

import pytest

from evaldock.supply.lock import ImagesLock, LockedImage, write_lock
from evaldock.supply.public_base import BOOTSTRAP, chosen_base
from evaldock_entrypoints.contract.errors import UsageError

DIGEST = "sha256:" + "a" * 64
DEBIAN = f"registry.example:5000/library/debian@{DIGEST}"


@pytest.fixture(autouse=True)
def built_on_debian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine whose last build stood on a public base."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    base = LockedImage(
        name="base",
        kind="base",
        version="x",
        digest=DIGEST,
        image_id=DIGEST,
        size_bytes=1,
        base_digest=DIGEST,
        public_base=DEBIAN,
        input_hash=DIGEST,
    )
    write_lock(ImagesLock().replacing(base))


@pytest.mark.parametrize(
    "name",
    [
        "docker.io/library/debian:12",
        "docker.io/library/debian",
        f"docker.io/library/debian:12@{DIGEST}",
        f"debian@{DIGEST}",
        f"docker.io/library/debian@{DIGEST[:-1]}",
        f"--authfile=/x/debian@{DIGEST}",
        "",
    ],
)
def test_name_that_is_not_registry_and_digest_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="without a digest"):
        chosen_base(name)


def test_base_of_the_last_build_is_kept() -> None:
    assert chosen_base(None) == DEBIAN


def test_base_that_is_named_wins() -> None:
    other = f"docker.io/library/debian@sha256:{'b' * 64}"

    assert chosen_base(other) == other


def test_bootstrap_leaves_the_public_base() -> None:
    assert chosen_base(BOOTSTRAP) is None


def test_nothing_built_means_bootstrapping(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "other"))

    assert chosen_base(None) is None
