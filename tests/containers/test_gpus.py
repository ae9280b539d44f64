"""GPUs on Docker, without one: a dockerd of our own that takes a script of ours for NVIDIA's toolkit.

What is shown: requests, refusals and counting. No GPU computes anything here.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import docker
import pytest
import yaml
from tests.kit.fake_nvidia import write_hook
from tests.kit.toy import Silent, toy_plan

from evaldock.engines.docker import DockerEngine
from evaldock.engines.ownership import OWNER_LABEL
from evaldock.plan import Plan, Unit
from evaldock.session import execute
from evaldock.supply.build import build_images
from evaldock.supply.dockerd import in_use, own_daemon, stop
from evaldock.supply.load import load_image
from evaldock.supply.lock import LockedImage
from evaldock.testkit.fake_endpoint import running_endpoint
from evaldock_entrypoints.contract.errors import ExecutionError, ExitCode
from evaldock_entrypoints.contract.fields import Gpus

pytestmark = [pytest.mark.containers, pytest.mark.slow]


@pytest.fixture(scope="module")
def image() -> LockedImage:
    return build_images(("entrypoints",), report=lambda _: None)["entrypoints"]


@contextmanager
def private_engine(folder: Path, image: LockedImage, *, path: str) -> Iterator[str]:
    """Yield the address of a dockerd whose cache folder and PATH are its own."""
    with pytest.MonkeyPatch.context() as patch:
        data_home = os.environ.get("XDG_DATA_HOME", str(Path.home() / ".local/share"))
        patch.setenv("XDG_DATA_HOME", data_home)
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setenv("PATH", path)
        daemon = own_daemon()
        try:
            with in_use(daemon, keep=False):
                patch.setenv("DOCKER_HOST", daemon.docker_host)
                load_image(image, daemon.docker_host)
                yield daemon.docker_host
        finally:
            stop(daemon)


@pytest.fixture(scope="module")
def toolkit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the engine looks for NVIDIA's toolkit."""
    folder = tmp_path_factory.mktemp("toolkit")
    write_hook(folder, present=2)
    return folder


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, toolkit: Path, image: LockedImage) -> Iterator[str]:
    path = f"{toolkit}:{os.environ['PATH']}"
    with private_engine(tmp_path_factory.mktemp("cache"), image, path=path) as address:
        yield address


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "host" in request.fixturenames:
        client = docker.DockerClient(base_url=request.getfixturevalue("host"))
        left = [item.name for item in client.containers.list(all=True, filters={"label": OWNER_LABEL})]
        client.close()
        assert left == []


def unit(image: LockedImage, gpus: Gpus, argv: tuple[str, ...] = ("sleep", "30")) -> Unit:
    return Unit(name="gpu", role="server", image=image.pin, argv=argv, network="none", gpus=gpus)


def start(host: str, what: Unit) -> tuple[str, ...]:
    with DockerEngine(host, "gpus") as engine:
        made = engine.create(what, user="12345:12345", network=None, alias=None, secrets={})
        with made as running:
            return running.gpus


# First, so that its engine and the shared one below do not run at once.
def test_an_engine_without_the_toolkit_says_what_to_install(
    tmp_path_factory: pytest.TempPathFactory, image: LockedImage
) -> None:
    folder = tmp_path_factory.mktemp("cache-without")
    with (
        private_engine(folder, image, path=os.environ["PATH"]) as address,
        pytest.raises(ExecutionError) as caught,
    ):
        start(address, unit(image, 1))
    assert "could not select device driver" in caught.value.message
    assert "NVIDIA Container Toolkit" in str(caught.value.next_step)
    assert "--gpus none" in str(caught.value.next_step)


@pytest.mark.parametrize(
    ("gpus", "nodes"), [(2, 2), (1, 1), ([1], 1), ([0, 1], 2), ("all", 2), ("none", 0), (0, 0)]
)
def test_a_container_that_sees_what_was_asked_for_runs(
    host: str, image: LockedImage, gpus: Gpus, nodes: int
) -> None:
    assert start(host, unit(image, gpus)) == tuple(f"nvidia{number}" for number in range(nodes))


@pytest.mark.parametrize(
    ("gpus", "words"), [(3, "asked for 3 GPUs, the container sees 2"), ([0, 1, 2], "sees 2")]
)
def test_fewer_gpus_than_asked_for_are_an_error(
    host: str, image: LockedImage, gpus: Gpus, words: str
) -> None:
    with pytest.raises(ExecutionError, match=words) as caught:
        start(host, unit(image, gpus))
    assert "--gpus 2" in str(caught.value.next_step)
    assert "nvidia0; nvidia1" in str(caught.value.where)


def test_an_engine_that_gives_nothing_is_found_out(host: str, image: LockedImage, toolkit: Path) -> None:
    write_hook(toolkit, present=0)
    try:
        with pytest.raises(ExecutionError, match=r"asked for all GPUs .* sees none"):
            start(host, unit(image, "all"))
    finally:
        write_hook(toolkit, present=2)


def test_nvidia_smi_inside_tells_names_and_uuids(host: str, image: LockedImage, toolkit: Path) -> None:
    write_hook(toolkit, present=2, smi="exit 0")
    try:
        assert start(host, unit(image, 2)) == (
            "GPU 0: Fake H100 (UUID: GPU-fake-0)",
            "GPU 1: Fake H100 (UUID: GPU-fake-1)",
        )
    finally:
        write_hook(toolkit, present=2)


def test_a_driver_that_fails_inside_is_quoted(host: str, image: LockedImage, toolkit: Path) -> None:
    write_hook(toolkit, present=0, smi="echo Driver/library version mismatch; exit 18")
    try:
        with pytest.raises(ExecutionError, match="sees none") as caught:
            start(host, unit(image, 1))
    finally:
        write_hook(toolkit, present=2)
    assert "Driver/library version mismatch" in str(caught.value.where)


def test_a_unit_that_ended_before_it_could_be_asked_is_no_error(host: str, image: LockedImage) -> None:
    assert start(host, unit(image, 3, argv=("true",))) in ((), ("nvidia0", "nvidia1"))


def toy_with_gpus(folder: Path, url: str, gpus: Gpus) -> Plan:
    plan = toy_plan(folder, url)
    (evaluation,) = plan.evaluations
    units = tuple(replace(unit, gpus=gpus) for unit in evaluation.units)
    return replace(plan, evaluations=(replace(evaluation, units=units),))


@pytest.mark.parametrize(("gpus", "code"), [(2, ExitCode.COMPLETE), (3, ExitCode.EXECUTION)])
def test_a_run_ends_with_a_result_or_says_which_gpus_are_missing(
    tmp_path: Path, host: str, gpus: Gpus, code: ExitCode
) -> None:
    del host
    with running_endpoint() as endpoint:
        (end,) = execute(toy_with_gpus(tmp_path, endpoint.url, gpus), Silent())
    assert end.exit_code is code
    lock = yaml.safe_load((tmp_path / "toy" / "run.lock.yaml").read_text(encoding="utf-8"))
    if code:
        assert end.results["error"]["message"] == "asked for 3 GPUs, the container sees 2"
        assert end.results["error"]["kind"] == "infra"
        assert lock["engine"]["gpus"] == {}
    else:
        seen = {"toy.sums-ask": ["nvidia0", "nvidia1"]}
        assert lock["engine"] == {"name": "docker", "isolates": True, "gpus": seen}
