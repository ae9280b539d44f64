"""A harness reaches its adapter and nothing else, tried from inside with both engines; and it scores."""

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from tests.kit.podman_host import podman_with
from tests.kit.toy import Silent, toy_plan
from tests.kit.toy_answers import toy_answers

from evaldock.engines.ownership import LABEL
from evaldock.engines.podman_command import PodmanCommand
from evaldock.executors.adapter import Counts
from evaldock.executors.outcome import TaskEnd, read_results
from evaldock.plan import Evaluation, Plan
from evaldock.session import execute
from evaldock.supply.lock import LockedImage
from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock_entrypoints.contract.errors import ExitCode

pytestmark = [pytest.mark.containers, pytest.mark.slow, pytest.mark.usefixtures("engine_host")]

SHARE = 0.75
CANARY = "sk-canary-7d02e1"
ENGINES = ("docker", "podman")
Settings = dict[str, dict[str, Any]]  # of containers, by the end of their names


@pytest.fixture(scope="module")
def podman(images: dict[str, LockedImage]) -> Iterator[PodmanCommand]:
    if os.geteuid() != 0:
        pytest.skip("installing podman and reading its rules needs root")
    with podman_with(images["entrypoints"]) as command:
        yield command


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEndpoint]:
    """An endpoint that wants a key, on every address of this host."""
    table = toy_answers(tmp_path_factory.mktemp("answers"))
    key = {"TOY_SECRET": CANARY}
    with running_endpoint(
        answers=[table], share=SHARE, host="0.0.0.0", api_key_name="TOY_SECRET", env=key
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_SECRET", CANARY)


def own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing: it only picks the address of the way out
        return str(probe.getsockname()[0])


def targets_of(client: docker.DockerClient, port: int) -> list[tuple[str, str, int]]:
    """Return where this host and its engine could be found; the host listens on the port everywhere."""
    subnets = [
        config
        for found in client.networks.list()
        for config in client.networks.get(str(found.id)).attrs["IPAM"]["Config"] or []
    ]
    gateways = {config["Gateway"] for config in subnets if "Gateway" in config} | {"172.17.0.1", "10.88.0.1"}
    return [
        ("host's loopback", "127.0.0.1", port),
        ("host's loopback, IPv6", "::1", port),
        ("host's address", own_address(), port),
        ("metadata", "169.254.169.254", 80),
        ("host by podman's name", "host.containers.internal", port),
        ("slirp's host", "10.0.2.2", port),
        *((f"gateway {gateway}", gateway, port) for gateway in sorted(gateways)),
    ]


class Inspecting(Silent):
    """Looks at every container of the run while its harness runs."""

    def __init__(self, inspect: Callable[[], Settings]) -> None:
        super().__init__()
        self._inspect = inspect
        self.containers: Settings = {}

    def progress(self, evaluation: Evaluation, folder: Path, counts: Counts | None) -> None:
        del evaluation, folder, counts
        self.containers |= self._inspect()


def docker_containers(client: docker.DockerClient) -> Settings:
    found = client.containers.list(filters={"label": f"{LABEL}=toy"}, ignore_removed=True)
    return {str(each.name).removeprefix("evaldock-toy-"): each.attrs for each in found}


def podman_containers(podman: PodmanCommand) -> Settings:
    names = podman.output(["ps", "--quiet", f"--filter=label={LABEL}=toy"]).split()
    found = podman.listing(["container", "inspect", *names]) if names else []
    return {str(each["Name"]).removeprefix("evaldock-toy-"): each for each in found}


@contextmanager
def slow(endpoint: RunningEndpoint) -> Iterator[None]:
    """Have the endpoint answer so slowly that a run can be looked at."""
    endpoint.reset([{"match": {}, "action": "latency", "latency_ms": 150}])
    try:
        yield
    finally:
        endpoint.reset([])


def reached(end: TaskEnd) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((end.folder / "native" / "reach.json").read_text(encoding="utf-8"))
    return tree


def lock_of(plan: Plan) -> Mapping[str, Any]:
    tree: Mapping[str, Any] = yaml.safe_load(
        (Path(plan.run_dir) / "run.lock.yaml").read_text(encoding="utf-8")
    )
    return tree


def accuracy(end: TaskEnd) -> float:
    value: float = end.results["results"]["tasks"]["sums"]["metrics"]["acc"]["scores"]["acc"]["value"]
    return value


def assert_sealed(end: TaskEnd, plan: Plan) -> None:
    found = reached(end)
    assert found["reached"] == []
    assert found["resolved"] == []
    assert found["interfaces"] == ["lo"]
    (port,) = found["listening"]
    assert f"http://127.0.0.1:{port}/" in found["endpoint"]
    assert found["engine_sockets"] == []
    assert found["adapter_folder"] == ["adapter.sock"]
    assert CANARY not in json.dumps(found["environment"])
    network = end.results["provenance"]["network"]
    assert network["sealed"] is True
    assert network["proof"]
    assert lock_of(plan)["sealed"] is True
    assert lock_of(plan)["tasks"]["toy.sums"]["sealed"] is True


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("way", "wanted"), [("host", "auto"), ("outside", "sealed")])
def test_a_harness_reaches_its_adapter_and_nothing_else(
    tmp_path: Path,
    endpoint: RunningEndpoint,
    client: docker.DockerClient,
    podman: PodmanCommand,
    *,
    engine: str,
    way: str,
    wanted: str,
) -> None:
    assert endpoint.port is not None
    url = f"http://{'127.0.0.1' if way == 'host' else own_address()}:{endpoint.port}/v1"
    targets = targets_of(client, endpoint.port)
    plan = toy_plan(
        *(tmp_path, url, "reach"),
        second="honest",
        key_name="TOY_SECRET",
        targets=targets,
        engine=engine,
        network=wanted,
    )
    assert plan.adapter is not None
    assert plan.adapter.unit.network == way
    seen = Inspecting(lambda: docker_containers(client) if engine == "docker" else podman_containers(podman))
    with slow(endpoint):
        end, other = execute(plan, seen)
    assert end.exit_code is ExitCode.COMPLETE, end.results
    assert accuracy(end) == SHARE
    assert_sealed(end, plan)
    assert reached(end)["usurped"] == [404, 200]  # in the other task's name it asks nothing
    assert other.status == "complete", other.results
    harness, adapter = seen.containers["toy.sums-ask"], seen.containers["adapter"]
    assert harness["HostConfig"]["NetworkMode"] == "none"
    assert CANARY not in json.dumps(harness)
    assert f"TOY_SECRET={CANARY}" in adapter["Config"]["Env"]
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in left if CANARY.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("engine", ENGINES)
def test_a_harness_of_a_deployment_reaches_its_adapter_and_not_the_server(
    tmp_path: Path,
    host_port: int,
    client: docker.DockerClient,
    podman: PodmanCommand,
    model: Path,
    *,
    engine: str,
) -> None:
    del podman
    deployment = {"type": "llamacpp", "model_path": str(model), "served_model_name": "fake-model"}
    targets = [*targets_of(client, host_port), ("server", "server", 8080), ("loopback", "127.0.0.1", 8080)]
    plan = toy_plan(
        *(tmp_path, "http://localhost/v1", "reach"),
        targets=targets,
        deployment={**deployment, "max_model_len": 256, "gpus": "none"},
        engine=engine,
        network="sealed",
    )
    (end,) = execute(plan, Silent())
    assert end.results["completeness"]["scored"] == 20, end.results
    assert_sealed(end, plan)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_open_harness_has_a_way_out_and_that_is_recorded(
    tmp_path: Path,
    endpoint: RunningEndpoint,
    host_port: int,
    client: docker.DockerClient,
    podman: PodmanCommand,
    *,
    engine: str,
) -> None:
    del podman
    targets = targets_of(client, host_port)
    plan = toy_plan(
        *(tmp_path, f"{endpoint.url}/v1", "reach"),
        key_name="TOY_SECRET",
        targets=targets,
        engine=engine,
        network="open",
    )
    (end,) = execute(plan, Silent())
    assert (end.exit_code, accuracy(end)) == (ExitCode.COMPLETE, SHARE)
    found = reached(end)
    assert "host's address" in found["reached"]
    assert CANARY not in json.dumps(found["environment"])
    assert end.results["provenance"]["network"]["sealed"] is False
    assert lock_of(plan)["sealed"] is False
    assert lock_of(plan)["tasks"]["toy.sums"]["sealed"] is False


def test_a_seal_that_is_wanted_and_leaks_ends_the_task(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    """As where an engine gave the container another network than the plan says."""
    plan = toy_plan(tmp_path, f"{endpoint.url}/v1", key_name="TOY_SECRET", engine="docker", network="sealed")
    (evaluation,) = plan.evaluations
    leaking = tuple(replace(unit, network="outside") for unit in evaluation.units)
    (end,) = execute(replace(plan, evaluations=(replace(evaluation, units=leaking),)), Silent())
    assert end.exit_code is ExitCode.EXECUTION
    assert "has a way out" in end.results["error"]["message"]
    assert read_results(end.folder)["results"]["tasks"] == {}
