"""The endpoint that the tests of the upstream policy share."""

import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.kit.encrypted import encrypted, make_certificate, server_context
from tests.kit.raw_server import Serving, raw_server

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint


@pytest.fixture(scope="package")
def shared_endpoint() -> Iterator[RunningEndpoint]:
    """One endpoint for all; take `endpoint` instead, which resets it."""
    with running_endpoint() as running:
        yield running


@pytest.fixture(scope="package")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of localhost that nobody signed."""
    return make_certificate(tmp_path_factory.mktemp("tls") / "localhost.pem")


@pytest.fixture
def scheme() -> str:
    """What endpoints speak. Modules whose tests hold for both ways of asking set it to http and https."""
    return "http"


@pytest.fixture
def tls(
    scheme: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> ssl.SSLContext | None:
    """What servers need, None for http; the adapter trusts them."""
    if scheme == "http":
        return None
    certificate = request.getfixturevalue("certificate")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    return server_context(certificate)


@pytest.fixture
def serving(tls: ssl.SSLContext | None) -> Serving:
    """raw_server, of either scheme."""
    return partial(raw_server, tls=tls)


@pytest.fixture
def endpoint(shared_endpoint: RunningEndpoint, tls: ssl.SSLContext | None) -> Iterator[RunningEndpoint]:
    """A running endpoint without faults and with fresh counts."""
    shared_endpoint.reset(faults=[])
    if tls is None:
        yield shared_endpoint
        return
    with encrypted(shared_endpoint, tls) as before:
        yield before


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy this machine has, it is not what is tested."""
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a fiftieth; their lengths are tested for themselves."""
    monkeypatch.setattr("evaldock_entrypoints.adapter.upstream.backoff.BASE_S", 0.01)
