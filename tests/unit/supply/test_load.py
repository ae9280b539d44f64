from pathlib import Path

import pytest
from tests.kit.layouts import layout_with
from tests.kit.programs import fake_program, only_programs

from evaldock.supply import load
from evaldock.supply.lock import LockedImage
from evaldock_entrypoints.contract.errors import ExecutionError, UsageError


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LockedImage:
    """Return an image that the store holds."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    store = tmp_path / "evaldock" / "images"
    store.mkdir(parents=True)
    (name, digest), *_ = layout_with(store, {"toy-1": [b"layer"]}).items()
    hashed = "sha256:" + "a" * 64
    return LockedImage(
        name=name,
        kind="harness",
        version="1",
        digest=digest,
        image_id=hashed,
        size_bytes=5,
        input_hash=hashed,
    )


def test_without_skopeo_it_says_what_to_install(
    image: LockedImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_programs(tmp_path / "bin", monkeypatch)
    with pytest.raises(UsageError, match="skopeo, and it is not here") as caught:
        load.copy_stored(image, "docker-daemon:toy:1")
    assert "apt-get install skopeo" in str(caught.value.next_step)


def test_a_copy_that_hangs_is_given_up(
    image: LockedImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program(tmp_path / "bin", "skopeo", "exec sleep 60")
    only_programs(tmp_path / "bin", monkeypatch, "sleep")
    monkeypatch.setattr(load, "_COPY_TIMEOUT_S", 0.2)
    with pytest.raises(ExecutionError, match="does not end within"):
        load.copy_stored(image, "docker-daemon:toy:1")
