"""garak against the seeded endpoint: the reported value is the share of answers that resisted."""

import json
import math
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.containers.answers import answer_table
from tests.kit.cli import Ended, evaldock, only_run, run_document, scores, task_results

from evaldock.supply.lock import LockedImage
from evaldock.testkit.fake_endpoint import running_endpoint

pytestmark = [pytest.mark.containers, pytest.mark.slow]

PROBE, PROMPTS, DIFFERENT = "goodside.Tag", 32, 16  # the probe asks each of its prompts twice
DETECTOR = "base.TriggerListDetector"
TASK = "garak.goodside_tag"


@pytest.fixture(scope="module")
def table(
    client: docker.DockerClient, images: dict[str, LockedImage], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Refusals as right answers and the probe's own triggers as wrong ones."""
    path = tmp_path_factory.mktemp("garak") / "tag.jsonl"
    return answer_table(client, images["garak"], ["garak_answers.py", PROBE], path)


def run(
    tmp_path: Path, url: str, endpoint_type: str, task: str = TASK, probes: str | None = None, **params: Any
) -> Ended:
    extra = {} if probes is None else {"probes": probes}
    endpoint = {"url": f"{url}/v1", "model_id": "fake-model", "type": endpoint_type}
    asked = {"parallelism": 4, "max_retries": 2, "extra": extra, **params}
    tree = {
        "target": {"api_endpoint": endpoint},
        "evaluation": {"tasks": [{"name": task, "params": asked}]},
    }
    return run_document(tree, tmp_path)


def check_three_quarters(results: dict[str, Any], repeats: int = 1) -> None:
    """The value is a mean over prompts, whose repeats are no samples of their own."""
    found = [scores(results, PROBE)[DETECTOR], scores(results, "goodside_tag", "groups")["resisted"]]
    for metric in found:
        assert (metric["value"], metric["n"]) == (0.75, PROMPTS)
        assert metric["stderr"] == pytest.approx(math.sqrt(0.75 * 0.25 / (PROMPTS - 1)), abs=1e-12)
    assert results["completeness"]["expected"] == results["completeness"]["scored"] == PROMPTS * repeats


def test_the_share_that_resisted_is_reported_and_each_repeat_is_asked(tmp_path: Path, table: Path) -> None:
    with running_endpoint(answers=[table], share=0.75) as endpoint:
        ended = run(tmp_path, endpoint.url, "chat", repeats=2, temperature=0.25, max_new_tokens=77)
        stats = endpoint.stats()
        bodies = [json.loads(request["body"]) for request in endpoint.last_requests()]
    assert ended.code == 0, ended.err
    check_three_quarters(task_results(tmp_path, TASK), repeats=2)
    assert [item["asked"] for item in stats["items"].values()] == [4] * DIFFERENT
    asked = [body for body in bodies if body.get("stop") == ["#", ";"]]
    assert len(asked) == 2 * PROMPTS
    assert {(body["temperature"], body["max_tokens"], "seed" in body) for body in asked} == {
        (0.25, 77, False)
    }


def test_refusals_that_pass_change_nothing(tmp_path: Path, table: Path) -> None:
    busy = {"match": {"route": "completions", "share": 0.2, "first_n": 1}, "action": "status", "status": 429}
    with running_endpoint(answers=[table], share=0.75, faults=[busy]) as endpoint:
        ended = run(tmp_path, endpoint.url, "completions")
        assert endpoint.stats()["statuses"].get("429", 0) > 0
    assert ended.code == 0, ended.err
    check_three_quarters(task_results(tmp_path, TASK))


def test_what_fails_for_good_is_no_score_and_is_all_that_a_resumed_run_asks(
    tmp_path: Path, table: Path
) -> None:
    """garak by itself repeats a 429 without end, and leaves other failures out of its shares."""
    item = json.loads(table.read_text(encoding="utf-8").splitlines()[3])["id"]
    broken = {"match": {"item": item}, "action": "status", "status": 429}
    with running_endpoint(answers=[table], share=0.75, faults=[broken]) as endpoint:
        first = run(tmp_path, endpoint.url, "chat")
        assert first.code == 5, first.err
        results = task_results(tmp_path, TASK)
        assert results["results"]["tasks"] == results["results"]["groups"] == {}
        counts = {"expected": PROMPTS, "scored": PROMPTS - 2, "errored": 2}
        assert results["completeness"] | counts == results["completeness"]
        endpoint.reset(faults=[])
        again = evaldock("resume", only_run(tmp_path).name, cwd=tmp_path)
        asked = {name: item["asked"] for name, item in endpoint.stats()["items"].items() if item["asked"]}
    assert again.code == 0, again.err
    assert asked == {item: 2}
    check_three_quarters(task_results(tmp_path, TASK))


@pytest.mark.parametrize(
    ("probe", "code", "said"),
    [
        ("latentinjection.LatentJailbreak", 5, "garak skipped the probe's primary detector"),
        ("lmrc.Bullying", 4, "no completion entry"),
        ("lmrc.NoSuchProbe", 2, "garak has no probe"),
    ],
)
def test_what_garak_passes_over_with_status_0_is_no_score(
    tmp_path: Path, images: dict[str, LockedImage], engine_host: str, probe: str, code: int, said: str
) -> None:
    del engine_host
    images["garak"]
    with running_endpoint() as endpoint:
        ended = run(tmp_path, endpoint.url, "chat", "garak.probes", probe, limit_samples=2)
    assert ended.code == code, ended.err
    assert said in ended.out + ended.err
    results = task_results(tmp_path, "garak.probes")
    assert results["results"]["tasks"] == results["results"]["groups"] == {}
