"""Endpoint and adapter that the tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kit.adapters import RunningAdapter, running_adapter, settings_for
from tests.kit.toy_answers import toy_answers

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint


@pytest.fixture(scope="package")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEndpoint]:
    with running_endpoint(answers=[toy_answers(tmp_path_factory.mktemp("answers"))]) as running:
        yield running


@pytest.fixture(autouse=True)
def forgetful(endpoint: RunningEndpoint) -> None:
    """Each test begins with an endpoint that has seen nothing and has no faults."""
    endpoint.reset(faults=[])


@pytest.fixture
def adapter(tmp_path: Path, endpoint: RunningEndpoint) -> Iterator[RunningAdapter]:
    with running_adapter(settings_for(tmp_path, [endpoint.url])) as running:
        yield running
