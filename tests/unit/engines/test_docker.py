from typing import Any

import pytest

from evaldock.engines.docker import OWNER_LABEL, device_requests, is_orphan, owner
from evaldock_entrypoints.contract.document import Gpus


@pytest.mark.parametrize(
    ("gpus", "request_"),
    [
        ("none", None),
        (0, None),
        ([], None),
        ("all", {"Count": -1, "DeviceIDs": []}),
        (2, {"Count": 2, "DeviceIDs": []}),
        ([0, 3], {"Count": 0, "DeviceIDs": ["0", "3"]}),
    ],
)
def test_gpus_become_the_requests_that_an_engine_understands(
    gpus: Gpus, request_: dict[str, Any] | None
) -> None:
    made = device_requests(gpus)
    if request_ is None:
        assert made == []
        return
    (one,) = made
    assert one | request_ == one
    assert one["Capabilities"] == [["gpu"]]


def test_only_objects_of_dead_processes_of_this_host_are_orphans() -> None:
    host, boot, _, ticks = owner().split(":")
    assert not is_orphan({OWNER_LABEL: owner()})
    assert is_orphan({OWNER_LABEL: f"{host}:{boot}:4194304:{ticks}"})
    assert is_orphan({OWNER_LABEL: f"{host}:another-boot:1:1"})
    assert not is_orphan({OWNER_LABEL: "another-host:boot:1:1"})
    assert not is_orphan({})
