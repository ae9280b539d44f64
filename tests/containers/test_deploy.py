"""`evaldock deploy`: a real model on a port of this machine, and gone afterwards."""

import json
import signal
import socket
import subprocess
import time
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container
from tests.kit.cli import evaldock
from tests.kit.deploying import deploying, first_line

from evaldock.engines.ownership import OWNER_LABEL

pytestmark = [pytest.mark.containers, pytest.mark.slow]

_START_TIMEOUT_S = 120


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number: int = free.getsockname()[1]
        return number


def said(folder: Path) -> str:
    return (folder / "stderr").read_text(encoding="utf-8")


def containers_of(process: subprocess.Popen[str], client: docker.DockerClient) -> list[Container]:
    found = client.containers.list(all=True, filters={"label": OWNER_LABEL})
    return [item for item in found if f":{process.pid}:" in item.labels[OWNER_LABEL]]


def left_behind(process: subprocess.Popen[str], client: docker.DockerClient) -> list[str]:
    found = client.networks.list(filters={"label": OWNER_LABEL})
    networks = [item for item in found if f":{process.pid}:" in item.attrs["Labels"][OWNER_LABEL]]
    return [str(item.name) for item in containers_of(process, client)] + [str(item.name) for item in networks]


def is_free(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) != 0


def test_it_serves_at_the_printed_address_until_term_and_leaves_nothing(
    tmp_path: Path, client: docker.DockerClient, model: Path, port: int
) -> None:
    with deploying(tmp_path, model, port) as process:
        url = first_line(process)
        assert url == f"http://127.0.0.1:{port}/v1", said(tmp_path)
        assert evaldock("check", url, "--type", "completions_logprob", cwd=tmp_path).code == 0
        answer = evaldock("query", url, "Say yes.", "--max_new_tokens", "8", cwd=tmp_path)
        assert (answer.code, bool(answer.out.strip())) == (0, True)
        (server,) = containers_of(process, client)
        bindings = server.attrs["NetworkSettings"]["Ports"]
        assert bindings[f"{port}/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": str(port)}]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=40) == 0, said(tmp_path)
    assert left_behind(process, client) == []
    assert is_free(port)
    (log,) = (tmp_path / "results").glob("*/server.log")
    assert str(log) in said(tmp_path)
    assert "evaldock.serve" in log.read_text(encoding="utf-8")


def test_json_names_the_address_the_model_and_the_log(
    tmp_path: Path, engine_host: str, model: Path, port: int
) -> None:
    del engine_host
    with deploying(tmp_path, model, port, "--json", "-o", "deployment.served_model_name=small") as process:
        facts = json.loads(first_line(process))
        assert (facts["url"], facts["model_id"]) == (f"http://127.0.0.1:{port}/v1", "small")
        assert Path(facts["log"]).name == "server.log"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=40) == 0, said(tmp_path)


def test_a_signal_before_it_is_ready_leaves_nothing_and_exits_75(
    tmp_path: Path, client: docker.DockerClient, model: Path, port: int
) -> None:
    with deploying(tmp_path, model, port) as process:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while "waiting for the server" not in said(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 75, said(tmp_path)
        assert first_line(process) == ""
    assert left_behind(process, client) == []


def test_a_server_that_dies_ends_the_command_with_its_last_lines(
    tmp_path: Path, client: docker.DockerClient, model: Path, port: int
) -> None:
    with deploying(tmp_path, model, port) as process:
        assert first_line(process), said(tmp_path)
        (server,) = containers_of(process, client)
        server.kill("SIGKILL")
        assert process.wait(timeout=40) == 7
    assert "the server ended by itself (was killed by SIGKILL)" in said(tmp_path)
    assert left_behind(process, client) == []


def test_a_model_that_does_not_load_exits_7(tmp_path: Path, client: docker.DockerClient, port: int) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF this is no model")
    with deploying(tmp_path, broken, port) as process:
        assert process.wait(timeout=_START_TIMEOUT_S) == 7
        assert first_line(process) == ""
    assert "broken.gguf" in said(tmp_path)
    assert left_behind(process, client) == []
