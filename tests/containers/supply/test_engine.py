"""Our own container engine: comes up, serves, and leaves nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import docker
import pytest

from evaldock.supply.dockerd import answers, own_daemon
from evaldock.supply.host import find_engine, running_engine, stop_own_engine
from evaldock.supply.mounts import mounts_below
from evaldock.supply.netfilter import network_state

pytestmark = [pytest.mark.containers, pytest.mark.slow]


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache folder of its own, on a machine where no engine answers."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    if find_engine() is not None:
        pytest.skip("an engine runs here, so evaldock would not start its own")


def wait_until_silent(engine: str) -> None:
    deadline_s = time.monotonic() + 10
    while answers(engine):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@pytest.mark.usefixtures("no_engine")
def test_leaves_no_process_socket_bridge_rule_or_mount(tmp_path: Path) -> None:
    before = network_state()

    with running_engine(report=lambda _: None) as engine:
        client = docker.DockerClient(base_url=engine)
        client.networks.create("evaldock-test")  # a forgotten network
        client.close()

    assert not own_daemon().run.exists()
    assert network_state() == before
    assert mounts_below(tmp_path) == mounts_below(own_daemon().run) == []


@pytest.mark.usefixtures("no_engine")
def test_inner_user_leaves_the_outer_ones_engine_up() -> None:
    with running_engine(report=lambda _: None) as outer:
        with running_engine(report=lambda _: None) as inner:
            assert inner == outer
        assert answers(outer)
    assert not answers(outer)


USE = """
import sys, time
from evaldock.supply.dockerd import answers
from evaldock.supply.host import running_engine
for _ in range(int(sys.argv[1])):
    with running_engine(report=lambda _: None) as host:
        assert answers(host)
        time.sleep(0.05)
"""


@pytest.mark.usefixtures("no_engine")
def test_commands_that_start_and_stop_it_at_once_do_not_take_it_from_each_other() -> None:
    argv = [sys.executable, "-c", USE, "3"]
    users = [subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for user in users:
        _, err = user.communicate(timeout=240)
        assert user.returncode == 0, err
    assert not own_daemon().run.exists()


@pytest.mark.usefixtures("no_engine")
def test_killed_daemon_is_replaced(tmp_path: Path) -> None:
    with running_engine(report=lambda _: None) as engine:
        pid = int((own_daemon().run / "docker.pid").read_text(encoding="ascii"))
        os.kill(pid, signal.SIGKILL)
        wait_until_silent(engine)
        with running_engine(report=lambda _: None) as again:
            assert answers(again)
    assert mounts_below(tmp_path) == []


@pytest.mark.usefixtures("no_engine")
def test_kept_engine_stays_until_it_is_stopped() -> None:
    with running_engine(report=lambda _: None, keep=True) as engine:
        pass
    try:
        assert answers(engine)
    finally:
        assert stop_own_engine()
    assert not answers(engine)
