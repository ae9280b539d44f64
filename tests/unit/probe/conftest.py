"""Endpoints that the probe's tests share."""

from collections.abc import Iterator

import pytest
from tests.kit.probes import KEY, KEY_NAME

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint


@pytest.fixture(scope="package")
def keyed() -> Iterator[RunningEndpoint]:
    """An endpoint that wants a key."""
    with running_endpoint(api_key_name=KEY_NAME, env={KEY_NAME: KEY}) as running:
        yield running


@pytest.fixture(scope="package")
def endpoint() -> Iterator[RunningEndpoint]:
    """An endpoint that wants none."""
    with running_endpoint() as running:
        yield running


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy this machine has, it is not what is tested."""
    monkeypatch.setenv("NO_PROXY", "*")
