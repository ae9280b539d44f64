"""`evaldock doctor` on real engines: limits really tried, control groups really mounted."""

import os
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from tests.kit.cli import evaldock
from tests.kit.programs import only_programs

from evaldock.diagnosis import engines, trial
from evaldock.diagnosis.cgroups import MOUNTED
from evaldock.diagnosis.facts import gather
from evaldock.engines.ownership import OWNER_LABEL
from evaldock.supply.build import build_images
from evaldock.supply.host import running_engine
from evaldock.supply.lock import LockedImage

pytestmark = [pytest.mark.containers]


@pytest.fixture(scope="module")
def base() -> LockedImage:
    """The base image, built when its inputs changed."""
    return build_images(("base",), report=lambda _: None)["base"]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An engine."""
    with running_engine(report=lambda _: None) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        yield address


def ours(host: str) -> set[str]:
    client = docker.DockerClient(base_url=host)
    try:
        return {str(item.name) for item in client.containers.list(all=True, filters={"label": OWNER_LABEL})}
    finally:
        client.close()


def test_a_real_engine_is_described(host: str, tmp_path: Path) -> None:
    facts = gather(tmp_path, offline=True)

    assert facts.engine is not None
    assert facts.engine.address.url == host
    assert facts.engine.info.driver != "unknown"
    assert Path(facts.engine.info.docker_root_dir).is_dir()
    assert {finding.what for finding in engines.findings(facts)} >= {
        "container engine",
        "engine at DOCKER_HOST",
    }


@pytest.mark.usefixtures("base")
def test_deep_tries_limits_and_owner_and_leaves_nothing(host: str, tmp_path: Path) -> None:
    before = ours(host)

    ended = evaldock("doctor", "--deep", "--offline", "--json", cwd=tmp_path, timeout_s=120)

    tried = {
        finding["what"]: (finding["state"], finding["found"])
        for finding in ended.json["findings"]
        if finding["subject"] == "tried"
    }
    assert tried["memory limit"] == (
        "ok",
        "enforced: a container that took more was killed, and the engine tells",
    )
    assert tried["process limit"] == ("ok", "enforced: 16 allowed, the next one refused")
    assert tried["owner of files"][0] == "ok"
    assert ours(host) == before


@pytest.mark.usefixtures("host")
def test_a_limit_that_does_not_hold_is_seen(base: LockedImage) -> None:
    with trial.trials(base, lambda _: None) as made:
        memory, processes = trial.memory(made, limit_mib=1024), trial.processes(made, limit=256)

    assert (memory.state, memory.found) == ("lack", "not enforced: a container with 1024 MiB took 256 MiB")
    assert processes.found == "not enforced: a container with 256 had 64 processes"


# Over the real control groups a folder that has all but one of them, for as long as the namespace lives.
ONE_MISSING = """
set -e
mount --rbind /sys/fs/cgroup "$1"
mount -t tmpfs none /sys/fs/cgroup
for name in cpu devices memory; do
    mkdir "/sys/fs/cgroup/$name"
    mount --bind "$1/$name" "/sys/fs/cgroup/$name"
done
PATH="$2"; shift 2
exec "$@"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
@pytest.mark.skipif(not (MOUNTED / "pids" / "tasks").exists(), reason="control groups of the second version")
@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="the init system mounts them")
def test_fix_mounts_a_missing_controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = tmp_path / "keep"
    keep.mkdir()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    shell = ("unshare", "--mount", "sh", "-c", ONE_MISSING, "sh", str(keep), str(tmp_path / "bin"))
    path = os.environ["PATH"]
    only_programs(tmp_path / "bin", monkeypatch, "mkdir", "mount", "iptables", "dpkg-query")
    monkeypatch.setenv("PATH", path)

    ended = evaldock("doctor", "--offline", "--fix", "--json", cwd=tmp_path, under=shell)

    command = "mkdir -p /sys/fs/cgroup/pids; mount -t cgroup -o pids none /sys/fs/cgroup/pids"
    assert ended.json["repairs"] == [{"what": "control groups", "done": command, "error": None}]
    assert ended.err.splitlines()[0] == f"evaldock: control groups: {command}"
    (after,) = [finding for finding in ended.json["findings"] if finding["what"] == "control groups"]
    assert after["state"] == "ok"
