"""What evaldock needs from the machine."""

from pathlib import Path

import pytest

from evaldock.supply import host
from evaldock.supply.dockerd import own_daemon
from evaldock_entrypoints.contract.errors import ExecutionError


def test_dead_docker_host_is_an_error_and_nothing_else_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    with pytest.raises(ExecutionError) as caught:
        host.find_engine()

    assert "none.sock" in (caught.value.where or "")


def test_own_socket_path_fits_the_kernel_limit_under_a_long_cache_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ("d" * 100)))

    assert len(bytes(own_daemon().socket)) <= 107


def test_two_cache_folders_have_two_daemons(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sockets = set()
    for name in ("one", "two"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        sockets.add(own_daemon().socket)

    assert len(sockets) == 2


def test_open_files_limit_is_the_hard_limit_of_this_process() -> None:
    assert host.nofile_limit() > 0
