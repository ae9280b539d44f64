"""What a container can reach and do, tried from inside; that of a harness: test_sealed.py."""

import json
import os
import socket
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from tests.containers.answers import lm_eval_answers

from evaldock.engines.docker import DockerEngine
from evaldock.plan import SCORING_LIMITS, SERVER_ALIAS, Limits, Unit, UnitNetwork
from evaldock.supply.lock import LockedImage
from evaldock.testkit.fake_endpoint import running_endpoint
from evaldock_entrypoints.contract.errors import ExecutionError

pytestmark = [pytest.mark.containers]

REACH = """
import json, socket, sys
found = {}
for name, host, port in json.loads(sys.argv[1]):
    try:
        socket.create_connection((host, port), timeout=2).close()
        found[name] = True
    except OSError:
        found[name] = False
try:
    found["dns"] = bool(socket.getaddrinfo("example.com", 80))
except OSError:
    found["dns"] = False
print(json.dumps(found))
"""


def unit(
    image: LockedImage, code: str, *args: str, network: UnitNetwork = "run", limits: Limits | None = None
) -> Unit:
    return Unit(
        name="probe",
        role="evaluation",
        image=image.pin,
        argv=("/usr/bin/python3", "-c", code, *args),
        network=network,
        limits=limits or Limits(),
    )


def run(engine: DockerEngine, what: Unit, network: str | None) -> tuple[int, str]:
    with engine.create(what, user="12345:12345", network=network, alias=None, secrets={}) as running:
        assert running.ended.wait(60)
        end = running.exit()
        return end.code, "\n".join(end.last_lines)


def test_what_stands_beside_the_server_reaches_it_and_nothing_else(
    engine_host: str, client: docker.DockerClient, images: dict[str, LockedImage], host_port: int
) -> None:
    server = unit(
        images["entrypoints"], "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)"
    )
    with DockerEngine(engine_host, "sealed") as engine, engine.network(internal=True) as network:
        running = engine.create(
            replace(server, name="server"), user="1:1", network=network, alias=SERVER_ALIAS, secrets={}
        )
        with running:
            gateways = {
                config["Gateway"]
                for found in client.networks.list()
                for config in client.networks.get(str(found.id)).attrs["IPAM"]["Config"] or []
                if "Gateway" in config
            }
            targets = [("server", SERVER_ALIAS, 8000), ("metadata", "169.254.169.254", 80)]
            targets += [(f"host at {gateway}", gateway, host_port) for gateway in sorted(gateways)]
            targets += [("host", _own_address(), host_port)]
            code, output = run(engine, unit(images["entrypoints"], REACH, json.dumps(targets)), network)
    assert code == 0, output
    found = json.loads(output)
    assert found.pop("server") is True
    assert set(found.values()) == {False}, found


def _own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing: it only picks the address of the way out
        return str(probe.getsockname()[0])


CONFINED = """
import json, os, pathlib
def refused(action):
    try:
        action()
    except OSError:
        return True
    return False
status = dict(l.split(":", 1) for l in pathlib.Path("/proc/self/status").read_text().splitlines())
print(json.dumps({
    "uid": os.getuid(),
    "capabilities": status["CapEff"].strip(),
    "bounding": status["CapBnd"].strip(),
    "no_new_privileges": status["NoNewPrivs"].strip(),
    "root_is_read_only": refused(lambda: open("/etc/x", "w")) and refused(lambda: open("/opt/x", "w")),
    "tmp_is_writable": not refused(lambda: open("/tmp/x", "w")),
    "no_engine_socket": not os.path.exists("/var/run/docker.sock"),
}))
"""


def test_a_container_has_no_rights_and_a_read_only_root(
    engine_host: str, images: dict[str, LockedImage]
) -> None:
    with DockerEngine(engine_host, "confined") as engine:
        code, output = run(engine, unit(images["entrypoints"], CONFINED, network="none"), None)
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


FORK_BOMB = """
import os, time
forks = 0
try:
    while forks < 2000:
        if os.fork() == 0:
            time.sleep(5)
            os._exit(0)
        forks += 1
except OSError:
    pass
raise SystemExit(0 if forks >= 2000 else 9)
"""
HOARD = "print(len(bytearray(3 * 1024**3)))"
FILL_DISK = """
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
open("/tmp/big", "wb").write(b"x" * 100 * 1024**2)
"""
RUN_FROM_TMP = """
import os, shutil
shutil.copy("/usr/bin/true", "/tmp/true")
os.chmod("/tmp/true", 0o755)
os.execv("/tmp/true", ["true"])
"""
NEW_NAMESPACE = """
import ctypes
CLONE_NEWUSER = 0x10000000
raise SystemExit(0 if ctypes.CDLL(None).unshare(CLONE_NEWUSER) == 0 else 9)
"""
MOUNT = """
import ctypes
raise SystemExit(0 if ctypes.CDLL(None).mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0 else 9)
"""
ENGINE_SOCKET = "import socket; socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')"
METADATA = "import socket; socket.create_connection(('169.254.169.254', 80), timeout=2)"
CALL_OUT = "import socket; socket.create_connection(('192.0.2.1', 53), timeout=2)"


ATTACKS = {
    "forks": FORK_BOMB,
    "memory": HOARD,
    "disk": FILL_DISK,
    "program": RUN_FROM_TMP,
    "namespace": NEW_NAMESPACE,
    "mount": MOUNT,
    "engine": ENGINE_SOCKET,
    "metadata": METADATA,
    "network": CALL_OUT,
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_code_of_a_model_is_contained_while_it_is_scored(
    engine_host: str, images: dict[str, LockedImage], attack: str
) -> None:
    what = unit(images["human-eval"], attack, network="none", limits=SCORING_LIMITS)
    with DockerEngine(engine_host, "contained") as engine:
        code, output = run(engine, replace(what, role="scoring"), None)
    assert code != 0, output


def test_the_engine_refuses_a_gpu_that_is_not_there(engine_host: str, images: dict[str, LockedImage]) -> None:
    wanted = replace(unit(images["entrypoints"], "pass", network="none"), gpus="all")
    with DockerEngine(engine_host, "gpus") as engine, pytest.raises(ExecutionError) as caught:
        run(engine, wanted, None)
    assert "NVIDIA Container Toolkit" in str(caught.value.next_step)


def test_a_harness_image_works_by_itself(
    tmp_path: Path, client: docker.DockerClient, images: dict[str, LockedImage]
) -> None:
    """`docker run --rm -u … -v …:/results IMAGE run_eval …`, as a user types it."""
    results = tmp_path / "results"
    results.mkdir()
    results.chmod(0o700)
    table = lm_eval_answers(client, images["lm-eval"], "arc_easy", 20, tmp_path)
    with running_endpoint(answers=[table], share=0.5) as endpoint:
        output = client.containers.run(
            images["lm-eval"].image_id,
            [
                *(
                    "run_eval",
                    "--eval_type",
                    "arc_easy",
                    "--model_url",
                    endpoint.url,
                    "--model_id",
                    "fake-model",
                ),
                *("--output_dir", "/results", "--limit_samples", "20"),
            ],
            user=f"{os.getuid()}:{os.getgid()}",
            volumes={str(results): {"bind": "/results", "mode": "rw"}},
            network_mode="host",
            remove=True,
        )
    assert b"arc_easy acc = 0.5000" in output
    assert (results / "results.yml").is_file()
