"""The Python API on a host and inside an image: the same names, the same proven score."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kit.begun import NAME, REPOSITORY, TASK, Begun
from tests.kit.podman_host import podman_without
from tests.kit.toy_answers import toy_answers

from evaldock.engines.podman import PodmanEngine
from evaldock.engines.podman_command import PodmanCommand
from evaldock.pins import ImagePin
from evaldock.plan import Mount, Unit
from evaldock.supply.lock import LockedImage
from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint

pytestmark = [pytest.mark.containers, pytest.mark.slow]

SHARE, ITEMS = 0.75, 20
REFUSED = {"match": {"item": "3"}, "action": "status", "status": 400}
# MODULE URL FOLDER [accept]: prints what comes of it as JSON, and nothing else on standard output.
PROGRAM = """
import importlib, json, sys
api = importlib.import_module(sys.argv[1])
from evaldock_entrypoints.contract.errors import EvaldockError
overrides = ["execution.engine=podman"] if sys.argv[1] == "evaldock.api" else []
config = api.EvaluationConfig(
    type="TASK", output_dir=sys.argv[3], params=api.ConfigParams(parallelism=4, max_retries=1)
)
endpoint = api.ApiEndpoint(
    url=sys.argv[2], model_id="fake-model", type=api.EndpointType.CHAT, api_key_name="MY_ENDPOINT_KEY"
)
try:
    api.check_endpoint(sys.argv[2], "chat", "fake-model", "MY_ENDPOINT_KEY", max_retries=5)
    target = api.EvaluationTarget(api_endpoint=endpoint)
    accept = sys.argv[4:] == ["accept"]
    found = api.evaluate(config, target, accept_incomplete=accept, overrides=overrides)
    print(found.model_dump_json())
except EvaldockError as error:
    print(json.dumps({"raised": type(error).__name__, "exit_code": error.exit_code}))
""".replace("TASK", TASK)
KEY = {"MY_ENDPOINT_KEY": "a-key-of-this-test"}


@pytest.fixture(scope="module")
def podman(images: dict[str, LockedImage]) -> Iterator[PodmanCommand]:
    del images  # which evaldock loads
    with podman_without(REPOSITORY) as command:
        yield command


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEndpoint]:
    table = toy_answers(tmp_path_factory.mktemp("answers"))  # the begun harness asks the same sums
    with running_endpoint(answers=[table], share=SHARE, api_key_name=next(iter(KEY)), env=KEY) as running:
        yield running


@pytest.fixture
def endpoint(shared: RunningEndpoint) -> RunningEndpoint:
    shared.reset([])
    return shared


def on_host(begun: Begun, endpoint: RunningEndpoint, folder: Path, *more: str) -> dict[str, Any]:
    argv = [sys.executable, "-c", PROGRAM, "evaldock.api", f"{endpoint.url}/v1", str(folder), *more]
    env = os.environ | begun.env | KEY
    done = subprocess.run(argv, env=env, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def score(found: dict[str, Any], part: str | None = None) -> tuple[float, int]:
    tree = found[part] if part else found
    acc = tree["tasks"][f"{NAME}-sums"]["metrics"]["acc"]["scores"]["acc"]
    return acc["value"], acc["n"]


@pytest.mark.usefixtures("podman")
def test_on_a_host_it_runs_containers_and_hands_out_the_proven_score(
    begun: Begun, endpoint: RunningEndpoint, tmp_path: Path
) -> None:
    found = on_host(begun, endpoint, tmp_path)
    assert (found["status"], score(found), found["partial"]) == ("complete", (SHARE, ITEMS), None)
    assert (found["completeness"]["expected"], found["completeness"]["scored"]) == (ITEMS, ITEMS)
    assert (Path(found["folder"]) / "results.yml").is_file()
    assert endpoint.stats()["unmatched"] <= 3  # the check, and the preflights of host and container


@pytest.mark.usefixtures("podman")
def test_on_a_host_an_incomplete_run_is_an_error_or_hands_out_nothing_as_a_score(
    begun: Begun, endpoint: RunningEndpoint, tmp_path: Path
) -> None:
    endpoint.reset([REFUSED])
    assert on_host(begun, endpoint, tmp_path) == {"raised": "IncompleteError", "exit_code": 5}
    found = on_host(begun, endpoint, tmp_path, "accept")
    assert (found["status"], found["tasks"], found["groups"]) == ("incomplete", {}, {})
    assert found["partial"]["missing"] == 1
    assert score(found, "partial")[1] == ITEMS - 1


def test_inside_an_image_it_is_run_eval(
    podman: PodmanCommand, begun: Begun, endpoint: RunningEndpoint, tmp_path: Path
) -> None:
    loaded = begun.evaldock("conformance", NAME, "--task", "none", "--engine", "podman")
    assert loaded.code == 2, loaded.err
    pin = ImagePin(
        name=NAME, version=None, reference=begun.image_id, digest=None, image_id=None, origin="unpinned"
    )
    unit = Unit(
        name="api",
        role="evaluation",
        image=pin,
        argv=(
            *("/opt/evaldock/bin/python", "-IB", "-c", PROGRAM),
            *("evaldock_entrypoints.api", f"{endpoint.url}/v1", "/results/task"),
        ),
        network="host",
        mounts=(Mount(source=str(tmp_path), target="/results", read_only=False),),
    )
    tmp_path.chmod(0o777)
    with PodmanEngine(podman, "api") as engine:
        running = engine.create(unit, user="64321:64321", network=None, alias=None, secrets=KEY)
        with running:
            assert running.ended.wait(120)
            code, lines = running.exit().code, running.last_lines()
    assert code == 0, lines
    (found,) = (json.loads(line) for line in lines if line.startswith("{"))
    assert (found["status"], score(found), found["folder"]) == ("complete", (SHARE, ITEMS), "/results/task")
    assert (tmp_path / "task" / "results.yml").stat().st_uid == 64321
