"""Fault F35: a harness that tries to get out of its container, or to take the machine for itself."""

import json
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.containers.test_sealed import targets_of
from tests.kit.fault_runs import ITEMS, SHARE, Ran, document, run_plan
from tests.kit.toy import Silent, toy_plan

from evaldock.engines import engine
from evaldock.engines.podman_command import PodmanCommand
from evaldock.executors.adapter import Counts
from evaldock.plan import Evaluation
from evaldock.testkit.fake_endpoint import RunningEndpoint
from evaldock_entrypoints.contract.errors import ExitCode

pytestmark = [pytest.mark.containers, pytest.mark.usefixtures("engine_host")]

PIDS, TMP_BYTES = 4096, 1024**3  # of docs/architecture.md


def run(folder: Path, endpoint: RunningEndpoint, mode: str, targets: Any = (), **more: Any) -> Ran:
    events = more.pop("events", None)
    return run_plan(toy_plan(folder, endpoint.url, mode, targets=targets, over=document(), **more), events)


def noted(ran: Ran, name: str) -> Any:
    return json.loads((ran.folder / "native" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("engine_name", ["docker", "podman"])
def test_f35_no_way_out_of_the_harnesss_container_is_open(
    tmp_path: Path,
    faulty: RunningEndpoint,
    client: docker.DockerClient,
    podman: PodmanCommand,
    host_port: int,
    measured: Callable[..., None],
    engine_name: str,
) -> None:
    del podman  # which has the image from now on
    ran = run(tmp_path, faulty, "honest+escape", targets_of(client, host_port), engine=engine_name)
    assert ran.code is ExitCode.COMPLETE, ran.said
    assert ran.score == (SHARE, ITEMS)
    measured(open=noted(ran, "escape"))
    assert noted(ran, "escape") == []


class Inspecting(Silent):
    """Looks once at the container of the harness."""

    def __init__(self, client: docker.DockerClient) -> None:
        super().__init__()
        self._client = client
        self.host_config: dict[str, Any] = {}
        self.mounts: list[dict[str, Any]] = []

    def progress(self, evaluation: Evaluation, folder: Path, counts: Counts | None) -> None:
        del evaluation, folder, counts
        if self.host_config:
            return
        for container in self._client.containers.list(filters={"name": "evaldock-toy-toy.sums-ask"}):
            self.host_config = container.attrs["HostConfig"]
            self.mounts = container.attrs["Mounts"]


def test_f35_a_harness_is_bound_in_memory_processes_and_mounts_without_anybody_asking(
    tmp_path: Path, faulty: RunningEndpoint, client: docker.DockerClient
) -> None:
    faulty.reset(faults=[{"action": "latency", "latency_ms": 150}])
    seen = Inspecting(client)
    run(tmp_path, faulty, "honest", events=seen)
    whole = client.info()["MemTotal"]
    assert 0.79 * whole < seen.host_config["Memory"] <= 0.8 * whole
    assert seen.host_config["MemorySwap"] == seen.host_config["Memory"]
    assert seen.host_config["PidsLimit"] == PIDS
    assert [mount["Destination"] for mount in seen.mounts if mount["RW"]] == ["/results"]


def test_f35_a_memory_bomb_ends_at_the_default_limit_and_is_named(
    tmp_path: Path, faulty: RunningEndpoint, monkeypatch: pytest.MonkeyPatch, client: docker.DockerClient
) -> None:
    share = 512 * 1024**2 / client.info()["MemTotal"]  # as on a machine that has 640 MiB
    monkeypatch.setattr(engine, "HARNESS_MEMORY_SHARE", share)
    ran = run(tmp_path, faulty, "memory")
    assert ran.code is ExitCode.EXECUTION, ran.said
    assert "out of memory (limit 51" in ran.said
    assert ran.results["error"]["kind"] == "infra"
    assert ran.results["results"]["tasks"] == {}


def test_f35_a_full_tmp_ends_at_its_size_and_harms_nothing(tmp_path: Path, faulty: RunningEndpoint) -> None:
    ran = run(tmp_path, faulty, "honest+tmp")
    assert ran.code is ExitCode.COMPLETE, ran.said
    assert 0.9 * TMP_BYTES < noted(ran, "tmp") <= TMP_BYTES


@contextmanager
def host_watched() -> Iterator[dict[str, list[float]]]:
    """Start a program again and again; yields how long each took, and how many processes there were."""
    seen: dict[str, list[float]] = {"start_s": [], "processes": []}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            began = time.monotonic()
            subprocess.run(["true"], check=True)
            seen["start_s"].append(time.monotonic() - began)
            seen["processes"].append(sum(path.name.isdecimal() for path in Path("/proc").iterdir()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()


def test_f35_a_fork_bomb_ends_at_its_limit_and_the_host_stays_usable(
    tmp_path: Path, faulty: RunningEndpoint, measured: Callable[..., None]
) -> None:
    before = sum(path.name.isdecimal() for path in Path("/proc").iterdir())
    with host_watched() as seen:
        ran = run(tmp_path, faulty, "honest+forks", time_limit="00:00:30")
    measured(
        forks=noted(ran, "forks") if (ran.folder / "native" / "forks.json").exists() else None,
        most_processes=max(seen["processes"]) - before,
        median_start_s=statistics.median(seen["start_s"]),
        slowest_start_s=max(seen["start_s"]),
        wall_s=ran.wall_s,
        code=int(ran.code),
    )
    assert max(seen["processes"]) - before < PIDS + 500
    assert max(seen["processes"]) - before > PIDS / 4, "it did not get going"
    assert statistics.median(seen["start_s"]) < 1
    assert ran.wall_s < 120
    assert ran.code in (ExitCode.COMPLETE, ExitCode.INTERRUPTED, ExitCode.HARNESS), ran.said
    after = sum(path.name.isdecimal() for path in Path("/proc").iterdir())
    assert after - before < 500
