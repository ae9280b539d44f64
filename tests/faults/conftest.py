"""The engine and the images of the container tests, and the endpoint that faults are injected into."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.containers.conftest import client, engine_host, host_port, images, model, nothing_left_behind
from tests.containers.test_sealed import podman
from tests.kit.fault_runs import ITEMS, SHARE, Ran, asked, run_toy
from tests.kit.toy_answers import toy_answers

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint

__all__ = ["client", "engine_host", "host_port", "images", "model", "nothing_left_behind", "podman"]


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy harness's questions."""
    return toy_answers(tmp_path_factory.mktemp("answers"))


@pytest.fixture(scope="session")
def shared_endpoint(table: Path) -> Iterator[RunningEndpoint]:
    """One endpoint for many tests."""
    with running_endpoint(answers=[table], share=SHARE) as running:
        yield running


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Keep figures for docs/reliability.md: `pytest --junitxml FILE` writes them down."""

    def keep(**figures: object) -> None:
        for name, figure in figures.items():
            shown = round(figure, 3) if isinstance(figure, float) else figure
            request.node.user_properties.append((name, shown))

    return keep


@pytest.fixture
def faulty(shared_endpoint: RunningEndpoint) -> RunningEndpoint:
    """An endpoint that has seen nothing yet; `reset(faults=…)` gives it faults."""
    shared_endpoint.reset(faults=[])
    return shared_endpoint


@pytest.fixture(scope="session")
def undisturbed(
    shared_endpoint: RunningEndpoint, engine_host: str, tmp_path_factory: pytest.TempPathFactory
) -> Ran:
    """The toy harness against an endpoint without a fault."""
    del engine_host
    shared_endpoint.reset(faults=[])
    ran = run_toy(tmp_path_factory.mktemp("undisturbed"), shared_endpoint.url)
    assert ran.score == (SHARE, ITEMS)
    assert asked(shared_endpoint) == {str(number): 1 for number in range(ITEMS)}
    return ran
