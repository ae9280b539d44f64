from typing import Any

import pytest

from evaldock.engines.docker import device_requests
from evaldock_entrypoints.contract.fields import Gpus


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
