"""The endpoint that the tests of the upstream policy share."""

from collections.abc import Iterator

import pytest

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint


@pytest.fixture(scope="package")
def shared_endpoint() -> Iterator[RunningEndpoint]:
    """One endpoint for all; take `endpoint` instead, which resets it."""
    with running_endpoint() as running:
        yield running


@pytest.fixture
def endpoint(shared_endpoint: RunningEndpoint) -> RunningEndpoint:
    """A running endpoint without faults and with fresh counts."""
    shared_endpoint.reset(faults=[])
    return shared_endpoint


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy this machine has, it is not what is tested."""
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a fiftieth; their lengths are tested for themselves."""
    monkeypatch.setattr("evaldock_entrypoints.adapter.upstream.backoff.BASE_S", 0.01)
