from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.kit.fake_engine import fake_engine
from tests.kit.plans import plan_of

from evaldock.engines.docker import Container, DockerEngine
from evaldock.engines.docker_options import device_requests, hardening, sandbox
from evaldock.engines.select import engine_for
from evaldock.plan import SCORING_LIMITS
from evaldock_entrypoints.contract.errors import ExecutionError
from evaldock_entrypoints.contract.fields import Gpus

DOCUMENT = {
    "evaluation": {"tasks": ["gsm8k"]},
    "target": {"api_endpoint": {"url": "https://models.example/v1", "model_id": "m"}},
}
LISTED = [{"Id": "f" * 64, "Names": ["/evaldock-other"], "Labels": {"io.evaldock.owner": "h:b:1:1"}}]


@pytest.mark.parametrize(
    ("gpus", "request_"),
    [
        ("none", None),
        (0, None),
        ([], None),
        ("all", {"Count": -1, "DeviceIDs": []}),
        (2, {"Count": 2, "DeviceIDs": []}),
        ([0, 3], {"Count": 0, "DeviceIDs": ["0", "3"]}),
    ],
)
def test_gpus_become_the_requests_that_an_engine_understands(
    gpus: Gpus, request_: dict[str, Any] | None
) -> None:
    made = device_requests(gpus)
    if request_ is None:
        assert made == []
        return
    (one,) = made
    assert one | request_ == one
    assert one["Capabilities"] == [["gpu"]]


def test_a_container_that_another_run_takes_away_meanwhile_is_no_fault_of_a_sweep(tmp_path: Path) -> None:
    answers: dict[str, object] = {"containers/json": LISTED, "networks": []}  # and 404 for the container
    with fake_engine(tmp_path, answers=answers) as host, DockerEngine(host, "RUN") as engine:
        assert engine.sweep() == []


def test_a_container_that_somebody_removed_is_an_error_of_the_engine(tmp_path: Path) -> None:
    unit = plan_of(DOCUMENT).evaluations[0].units[0]
    with fake_engine(tmp_path) as host:
        client = docker.DockerClient(base_url=host)
        try:
            gone = client.containers.prepare_model({"Id": "f" * 64})
            with pytest.raises(ExecutionError, match="evaluation container is gone") as caught:
                Container(gone, unit, is_local=True).exit()
        finally:
            client.close()
    assert caught.value.next_step


def test_what_an_engine_refuses_during_a_run_is_an_error_of_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    plan = replace(plan_of(DOCUMENT), adapter=None, evaluations=(), engine="docker")

    def run() -> None:
        with engine_for(plan, lambda _: None) as engine:
            engine.sweep()

    with fake_engine(tmp_path) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        with pytest.raises(ExecutionError, match="the container engine fails"):
            run()


def test_code_of_a_model_runs_in_gvisor_where_the_engine_has_it() -> None:
    assert sandbox({"runc": {}, "runsc": {}}) == {"runtime": "runsc"}
    assert sandbox({"runc": {}}) == {}


def test_no_more_processors_are_asked_for_than_the_engine_has() -> None:
    wanted = replace(SCORING_LIMITS, cpus=4.0)
    assert [hardening(wanted, cpus=cpus)["nano_cpus"] for cpus in (2, 64)] == [2 * 10**9, 4 * 10**9]
    assert "nano_cpus" not in hardening(replace(wanted, cpus=None), cpus=2)
