"""Podman as an engine: the results, limits and isolation of Docker; GPU requests by a made-up CDI spec."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.containers.test_isolation import (
    CALL_OUT,
    CONFINED,
    FILL_DISK,
    FORK_BOMB,
    HOARD,
    REACH,
    RUN_FROM_TMP,
)
from tests.kit.fake_nvidia import write_cdi
from tests.kit.podman_host import podman_with
from tests.kit.toy import Silent, toy_plan
from tests.kit.toy_answers import toy_answers

from evaldock.engines.docker import DockerEngine
from evaldock.engines.ownership import OWNER_LABEL
from evaldock.engines.podman import PodmanEngine
from evaldock.engines.podman_api import is_local_podman
from evaldock.engines.podman_command import PodmanCommand
from evaldock.engines.select import engine_for
from evaldock.executors.outcome import read_results
from evaldock.plan import SCORING_LIMITS, SERVER_ALIAS, Limits, Unit, UnitNetwork
from evaldock.session import execute
from evaldock.supply.build import build_images
from evaldock.supply.dockerd import answers
from evaldock.supply.host import find_engine
from evaldock.supply.lock import LockedImage
from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock_entrypoints.contract.errors import ExecutionError, ExitCode, PinError
from evaldock_entrypoints.contract.fields import Gpus

pytestmark = [pytest.mark.containers, pytest.mark.slow]

KIT = Path(__file__).parents[1]
SHARE = 0.75


@pytest.fixture(scope="module")
def image() -> LockedImage:
    return build_images(("entrypoints",), report=lambda _: None)["entrypoints"]


@pytest.fixture(scope="module")
def podman(image: LockedImage) -> Iterator[PodmanCommand]:
    if os.geteuid() != 0:
        pytest.skip("installing podman and reading its rules needs root")
    with podman_with(image) as command:
        yield command


@pytest.fixture(autouse=True)
def nothing_left_behind(podman: PodmanCommand) -> Iterator[None]:
    yield
    assert podman.listing(["ps", "--all", f"--filter=label={OWNER_LABEL}"]) == []
    assert podman.listing(["network", "ls", f"--filter=label={OWNER_LABEL}"]) == []


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEndpoint]:
    table = toy_answers(tmp_path_factory.mktemp("answers"))
    with running_endpoint(answers=[table], share=SHARE) as running:
        yield running


def unit(
    image: LockedImage,
    *argv: str,
    network: UnitNetwork = "none",
    limits: Limits | None = None,
    gpus: Gpus = "none",
) -> Unit:
    return Unit(
        name="probe",
        role="evaluation",
        image=image.pin,
        argv=argv,
        network=network,
        limits=limits or Limits(),
        gpus=gpus,
    )


def python(code: str, *args: str) -> tuple[str, ...]:
    return ("/usr/bin/python3", "-c", code, *args)


def run(engine: PodmanEngine, what: Unit, network: str | None = None, **secrets: str) -> tuple[int, str]:
    with engine.create(what, user="12345:12345", network=network, alias=None, secrets=secrets) as running:
        assert running.ended.wait(60)
        end = running.exit()
        return end.code, "\n".join(end.last_lines)


def test_a_result_is_the_one_that_docker_gives(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    trees = []
    for engine in ("podman", "docker"):
        (end,) = execute(toy_plan(tmp_path / engine, endpoint.url, engine=engine), Silent())
        assert end.exit_code is ExitCode.COMPLETE
        trees.append({key: value for key, value in end.results.items() if not key.endswith("_at")})
        trees[-1]["provenance"] = {
            key: value for key, value in trees[-1]["provenance"].items() if not key.endswith("_at")
        }
        del trees[-1]["provenance"]["network"]["proof"]  # engines close a network in different ways
    assert trees[0] == trees[1]
    assert trees[0]["provenance"]["network"] == {"wanted": "auto", "sealed": True}
    assert trees[0]["results"]["tasks"]["sums"]["metrics"]["acc"]["scores"]["acc"]["value"] == SHARE
    logs = [tmp_path / engine / "toy" / "toy.sums" / "logs" / "ask.log" for engine in ("podman", "docker")]
    assert logs[0].read_bytes() == logs[1].read_bytes()


def test_results_belong_to_the_caller(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    execute(toy_plan(tmp_path, endpoint.url, engine="podman"), Silent())
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in tmp_path.rglob("*")}
    assert owners == {(os.getuid(), os.getgid())}


def test_a_harness_out_of_memory_is_named(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    (end,) = execute(toy_plan(tmp_path, endpoint.url, "memory", engine="podman", memory="256m"), Silent())
    assert end.exit_code is ExitCode.EXECUTION
    assert "out of memory (limit 256" in end.results["error"]["message"]


def test_a_killed_harness_is_not_taken_for_one_out_of_memory(
    tmp_path: Path, endpoint: RunningEndpoint
) -> None:
    (end,) = execute(toy_plan(tmp_path, endpoint.url, "killed", engine="podman", memory="256m"), Silent())
    assert "killed by SIGKILL" in end.results["error"]["message"]


def test_a_container_has_no_rights_and_a_read_only_root(podman: PodmanCommand, image: LockedImage) -> None:
    with PodmanEngine(podman, "confined") as engine:
        code, output = run(engine, unit(image, *python(CONFINED)))
    assert code == 0, output
    assert json.loads(output) == {
        "uid": 12345,
        "capabilities": "0000000000000000",
        "bounding": "0000000000000000",
        "no_new_privileges": "1",
        "root_is_read_only": True,
        "tmp_is_writable": True,
        "no_engine_socket": True,
    }


@pytest.mark.parametrize("attack", [FORK_BOMB, HOARD, FILL_DISK, RUN_FROM_TMP, CALL_OUT])
def test_code_of_a_model_is_contained_while_it_is_scored(
    podman: PodmanCommand, image: LockedImage, attack: str
) -> None:
    what = replace(unit(image, *python(attack), limits=SCORING_LIMITS), role="scoring")
    with PodmanEngine(podman, "contained") as engine:
        code, output = run(engine, what)
    assert code != 0, output


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing: it only picks the address of the way out
        return str(probe.getsockname()[0])


def test_what_stands_beside_the_server_reaches_it_and_nothing_else(
    podman: PodmanCommand, image: LockedImage, host_port: int
) -> None:
    listening = python("import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)")
    server = replace(unit(image, *listening, network="run"), name="server", role="server")
    targets = [
        ("server", SERVER_ALIAS, 8000),
        ("host", _own_address(), host_port),
        ("host by loopback", "127.0.0.1", host_port),
        ("host by podman's name", "host.containers.internal", host_port),
        ("metadata", "169.254.169.254", 80),
    ]
    with (
        PodmanEngine(podman, "sealed") as engine,
        engine.network(internal=True) as network,
        engine.create(server, user="1:1", network=network, alias=SERVER_ALIAS, secrets={}),
    ):
        reach = unit(image, *python(REACH, json.dumps(targets)), network="run")
        deadline_s = time.monotonic() + 20
        while not (found := json.loads(run(engine, reach, network)[1]))["server"]:
            assert time.monotonic() < deadline_s
    assert found.pop("server") is True
    assert set(found.values()) == {False}, found


def test_a_container_with_a_way_out_reaches_the_host(
    podman: PodmanCommand, image: LockedImage, host_port: int
) -> None:
    targets = json.dumps([("host", _own_address(), host_port)])
    with PodmanEngine(podman, "open") as engine, engine.network(internal=False) as network:
        _, output = run(engine, unit(image, *python(REACH, targets), network="outside"), network)
    assert json.loads(output)["host"] is True


def test_a_key_is_in_no_argument_and_no_record_of_the_call(podman: PodmanCommand, image: LockedImage) -> None:
    canary = "sk-canary-91ab3c"
    asking = python("import os, time; print(len(os.environ['TOY_KEY']), flush=True); time.sleep(60)")
    with PodmanEngine(podman, "key") as engine:
        made = engine.create(
            unit(image, *asking), user="1:1", network=None, alias=None, secrets={"TOY_KEY": canary}
        )
        with made as running:
            deadline_s = time.monotonic() + 20
            while running.last_lines() != (str(len(canary)),):
                assert time.monotonic() < deadline_s
            called = podman.output(["ps", "--all", "--quiet", f"--filter=label={OWNER_LABEL}"])
            command = podman.output(["container", "inspect", "--format={{.Config.CreateCommand}}", called])
    assert "--env=TOY_KEY" in command
    assert canary not in command


BACKGROUND = """
import sys
from pathlib import Path
from tests.kit.toy import Silent, toy_plan, worst
from evaldock.session import execute
from evaldock_entrypoints.contract.errors import EvaldockError
try:
    plan = toy_plan(Path(sys.argv[1]), sys.argv[2], "sleep", engine="podman")
    sys.exit(int(worst(execute(plan, Silent()))))
except EvaldockError as error:
    print(error.render())
    sys.exit(int(error.exit_code))
"""


@contextmanager
def sleeping_run(tmp_path: Path, endpoint: RunningEndpoint) -> Iterator[subprocess.Popen[str]]:
    """A run in a process group of its own, whose harness sleeps."""
    argv = [sys.executable, "-c", BACKGROUND, str(tmp_path), endpoint.url]
    process = subprocess.Popen(
        argv,
        cwd=KIT.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        log = tmp_path / "toy" / "toy.sums" / "logs" / "ask.log"
        deadline_s = time.monotonic() + 60
        while not (log.is_file() and "toy harness starts" in log.read_text(encoding="utf-8")):
            assert time.monotonic() < deadline_s
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.05)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_signal_to_the_whole_group_lets_the_harness_stop(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    with sleeping_run(tmp_path, endpoint) as process:
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED, output
    assert read_results(tmp_path / "toy" / "toy.sums")["status"] == "interrupted"


def test_what_a_killed_run_leaves_is_removed_by_the_next(
    tmp_path: Path, endpoint: RunningEndpoint, podman: PodmanCommand
) -> None:
    with sleeping_run(tmp_path, endpoint) as process:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)
    left = {str(each["Names"][0]) for each in podman.listing(["ps", f"--filter=label={OWNER_LABEL}"])}
    assert left == {"evaldock-toy-adapter", "evaldock-toy-toy.sums-ask"}
    seen = Silent()
    (end,) = execute(toy_plan(tmp_path / "next", endpoint.url, engine="podman"), seen)
    assert end.exit_code is ExitCode.COMPLETE
    assert all(any(name in step for step in seen.steps) for name in left)


@contextmanager
def cdi_spec(nodes: dict[str, list[int]]) -> Iterator[None]:
    """A specification of GPUs by the name of each, for as long as the block runs."""
    folder = Path("/var/run/cdi")
    made = not folder.exists()
    folder.mkdir(exist_ok=True)
    path = write_cdi(folder, nodes)
    try:
        yield
    finally:
        path.unlink()
        if made:
            folder.rmdir()


def seen_gpus(podman: PodmanCommand, image: LockedImage, gpus: Gpus) -> tuple[str, ...]:
    with PodmanEngine(podman, "gpus") as engine:
        what = unit(image, "sleep", "30", gpus=gpus)
        with engine.create(what, user="12345:12345", network=None, alias=None, secrets={}) as running:
            return running.gpus


@pytest.mark.parametrize(
    ("gpus", "nodes"),
    [(2, ("nvidia0", "nvidia1")), ([1], ("nvidia1",)), ("all", ("nvidia0", "nvidia1")), (0, ())],
)
def test_gpus_of_the_specification_are_seen_inside(
    podman: PodmanCommand, image: LockedImage, gpus: Gpus, nodes: tuple[str, ...]
) -> None:
    with cdi_spec({"0": [0], "1": [1], "all": [0, 1]}):
        assert seen_gpus(podman, image, gpus) == nodes


def test_fewer_gpus_than_asked_for_are_an_error(podman: PodmanCommand, image: LockedImage) -> None:
    with cdi_spec({"0": [0], "1": [], "all": []}):
        with pytest.raises(ExecutionError, match="asked for 2 GPUs, the container sees 1"):
            seen_gpus(podman, image, 2)
        with pytest.raises(ExecutionError, match=r"asked for all GPUs .* sees none"):
            seen_gpus(podman, image, "all")


def test_a_gpu_that_no_specification_names_is_refused(podman: PodmanCommand, image: LockedImage) -> None:
    with (
        cdi_spec({"0": [0]}),
        pytest.raises(ExecutionError, match=r"unresolvable CDI devices nvidia.com/gpu=1") as caught,
    ):
        seen_gpus(podman, image, [1])
    assert "nvidia-ctk cdi generate" in str(caught.value.next_step)


def test_an_image_other_than_the_pinned_one_is_refused(podman: PodmanCommand, image: LockedImage) -> None:
    zeros = "sha256:" + "0" * 64
    with PodmanEngine(podman, "pins") as engine:
        pin = image.pin.model_copy(
            update={"image_id": None, "digest": zeros, "reference": f"localhost/{image.reference}"}
        )
        with pytest.raises(PinError, match="not the one that is pinned"):
            run(engine, replace(unit(image, "true"), image=pin))
        with pytest.raises(ExecutionError, match="the engine has no image"):
            run(engine, replace(unit(image, "true"), image=image.pin.model_copy(update={"image_id": zeros})))


@pytest.fixture
def api(podman: PodmanCommand, tmp_path: Path) -> Iterator[str]:
    """The address of podman's own Docker API."""
    del podman
    address = f"unix://{tmp_path}/p.sock"
    service = subprocess.Popen(
        ["podman", "system", "service", "--time=0", address],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline_s = time.monotonic() + 20
        while not answers(address):
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        yield address
    finally:
        service.terminate()
        service.wait(20)


def test_podmans_docker_api_is_not_asked_for_what_it_ignores(api: str, image: LockedImage) -> None:
    assert is_local_podman(api)
    with DockerEngine(api, "api") as engine:

        def create(what: Unit) -> Any:
            return engine.create(what, user="1:1", network=None, alias=None, secrets={})

        for what in (unit(image, "true", gpus=1), replace(unit(image, "true"), role="scoring")):
            with pytest.raises(ExecutionError, match="podman's Docker API") as caught:
                create(what)
            assert "execution.engine: podman" in str(caught.value.next_step)
        with pytest.raises(ExecutionError, match="does not seal"), engine.network(internal=True):
            pass


@pytest.mark.usefixtures("podman")
def test_auto_takes_podman_where_no_docker_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: LockedImage
) -> None:
    plan = toy_plan(tmp_path, "http://127.0.0.1:1")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if find_engine() is not None:
        pytest.skip("a Docker engine runs here")
    assert plan.engine == "auto"
    with engine_for(plan, lambda _: None) as engine:
        assert isinstance(engine, PodmanEngine)
        assert run(engine, unit(image, "true"))[0] == 0


def test_auto_calls_podman_itself_where_its_docker_api_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", api)
    with engine_for(toy_plan(tmp_path, "http://127.0.0.1:1"), lambda _: None) as engine:
        assert isinstance(engine, PodmanEngine)
