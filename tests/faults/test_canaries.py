"""Fault F34: a key shows in nothing that a run leaves behind, shows or hands to a harness."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from tests.kit.canaries import environments_with, exchanges_in
from tests.kit.cli import evaldock, run_document
from tests.kit.echoing_endpoint import echoing_endpoint
from tests.kit.fault_runs import Ran, document, run_plan
from tests.kit.toy import Silent, toy_plan

from evaldock.conformance.canary import command_lines_with, found_in
from evaldock.executors.adapter import Counts
from evaldock.plan import Evaluation
from evaldock_entrypoints.contract.errors import ExitCode

pytestmark = pytest.mark.slow  # starts processes, or waits

CANARY = "canary/+4f1d7a5e=9b"  # not of a shape that anything would take for a key
NAME = "MY_ENDPOINT_KEY"


class Watcher(Silent):
    """Looks around once while the harness's container runs."""

    def __init__(self, client: docker.DockerClient) -> None:
        super().__init__()
        self.inspected: dict[str, Any] = {}
        self.command_lines: list[str] = []
        self.environments: list[str] = []
        self._client = client

    def progress(self, evaluation: Evaluation, folder: Path, counts: Counts | None) -> None:
        del evaluation, folder, counts
        if self.inspected:
            return
        self.command_lines, self.environments = command_lines_with(CANARY), environments_with(CANARY)
        for container in self._client.containers.list(filters={"label": "io.evaldock.run=toy"}):
            role = str(container.name).rpartition("-")[2]
            self.inspected[role] = self._client.api.inspect_container(str(container.id))


@pytest.fixture(scope="module")
def watched(
    client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Ran, Watcher]]:
    """A run whose endpoint gives the key back in every way, and whose harness prints what it has."""
    folder = tmp_path_factory.mktemp("canary")
    watcher = Watcher(client)
    with pytest.MonkeyPatch.context() as patch, echoing_endpoint() as url:
        patch.setenv(NAME, CANARY)
        over = document(params={"max_retries": 1})
        names = ("request_logging", "response_logging", "token_log", "progress_tracking", "response_stats")
        chain = over["target"]["api_endpoint"]["adapter_config"]["interceptors"]
        over["target"]["api_endpoint"]["adapter_config"]["interceptors"] = [
            *({"name": name} for name in names),
            *chain,
        ]
        yield run_plan(toy_plan(folder, url, "tolerant+leak", key_name=NAME, over=over), watcher), watcher


@pytest.mark.containers
def test_nothing_that_a_run_leaves_behind_holds_the_key(watched: tuple[Ran, Watcher]) -> None:
    ran, watcher = watched
    run_dir = ran.folder.parent
    assert ran.code is ExitCode.INCOMPLETE, ran.said
    assert ran.results["completeness"]["errored"] == 6
    assert exchanges_in(run_dir) >= 20
    assert found_in(run_dir, CANARY) == []
    assert found_in(run_dir, "user:canary") == []
    assert not [step for step in watcher.steps if CANARY in step]
    assert CANARY not in ran.said


@pytest.mark.containers
def test_what_an_error_says_is_kept_but_for_the_key(watched: tuple[Ran, Watcher]) -> None:
    ran, _ = watched
    assert found_in(ran.folder, "Incorrect API key provided: [redacted]")


@pytest.mark.containers
def test_only_the_adapter_has_the_key_while_the_run_lasts(watched: tuple[Ran, Watcher]) -> None:
    _, watcher = watched
    assert set(watcher.inspected) == {"adapter", "ask"}
    assert CANARY not in str(watcher.inspected["ask"])
    adapter = watcher.inspected["adapter"]
    assert [line for line in adapter["Config"].pop("Env") if CANARY in line] == [f"{NAME}={CANARY}"]
    assert CANARY not in str(adapter)
    assert watcher.command_lines == []
    assert watcher.environments
    assert all("adapter --settings" in argv for argv in watcher.environments)


@pytest.mark.containers
def test_the_history_of_no_image_holds_the_key(
    watched: tuple[Ran, Watcher], client: docker.DockerClient
) -> None:
    del watched
    images = client.images.list()
    assert images
    for image in images:
        assert CANARY not in str(image.history())
        assert CANARY not in str(image.attrs)


def written(**endpoint: Any) -> dict[str, Any]:
    target = {"url": "http://127.0.0.1:9/v1", "model_id": "fake-model", "type": "chat", **endpoint}
    return {"target": {"api_endpoint": target}, "evaluation": {"tasks": ["humaneval"]}}


@pytest.mark.parametrize(
    "endpoint",
    [
        {"url": f"http://127.0.0.1:9/v1?api_key={CANARY}"},
        {"url": f"http://user:{CANARY}@127.0.0.1:9/v1"},
        {"adapter_config": {"headers_to_add": {"Authorization": f"Bearer {CANARY}"}}},
        {"adapter_config": {"headers_to_add": {"X-Api-Key": CANARY}}},
        {
            "adapter_config": {
                "interceptors": [
                    {"name": "payload_modifier", "config": {"headers_to_add": {"api-key": CANARY}}}
                ]
            }
        },
        {"adapter_config": {"params_to_add": {"api_key": CANARY}}},
        {"api_key_name": f"sk-{CANARY}"},
    ],
)
def test_a_key_in_a_document_is_refused_and_not_repeated(tmp_path: Path, endpoint: dict[str, Any]) -> None:
    ended = run_document(written(**endpoint), tmp_path)
    assert ended.code == 2, ended.err
    assert CANARY not in ended.err + ended.out
    assert not (tmp_path / "results").exists()
    (tmp_path / "eval.yaml").unlink()
    assert list(tmp_path.iterdir()) == []


def test_a_key_on_the_command_line_is_kept_out_of_what_is_shown(tmp_path: Path) -> None:
    (tmp_path / "eval.yaml").write_text(yaml.safe_dump(written()), encoding="utf-8")
    over = f"target.api_endpoint.api_key={CANARY}"
    ended = evaldock("run", "eval.yaml", "-o", over, "--dry_run", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert CANARY not in ended.err + ended.out
