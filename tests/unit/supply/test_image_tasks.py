from pathlib import Path

import pytest

from evaldock.supply.image_tasks import tasks_of_image
from evaldock.supply.lock import ImagesLock, LockedImage, write_lock
from evaldock_entrypoints.contract.errors import PinError

HASH = "sha256:" + "a" * 64


def test_an_image_that_the_store_lost_is_to_be_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    image = LockedImage(
        name="lm-eval", kind="harness", version="1", digest=HASH, image_id=HASH, size_bytes=1, input_hash=HASH
    )
    write_lock(ImagesLock(images={"lm-eval": image}))
    with pytest.raises(PinError, match="does not hold") as caught:
        tasks_of_image("lm-eval")
    assert caught.value.next_step == "evaldock build lm-eval"
