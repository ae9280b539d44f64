"""IFEval and IFBench against the seeded endpoint: verdicts are those made by hand."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.kit.cli import Ended, run_document, scores, task_results
from tests.kit.ifeval_answers import FIRST_TWENTY

from evaldock.supply.lock import LockedImage
from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint

pytestmark = [pytest.mark.containers, pytest.mark.slow]

N = len(FIRST_TWENTY)
UNSCORABLE = [str(number) for number in range(257, 263)]
IFEVAL, IFBENCH = "google/IFEval/train.jsonl", "allenai/IFBench_test/test.jsonl"
TOO_MANY_REQUESTS = {"match": {"share": 0.2, "first_n": 1}, "action": "status", "status": 429}


def prompts(client: docker.DockerClient, image: LockedImage, path: str) -> list[dict[str, Any]]:
    """Return the rows of a file of the image's data."""
    output = client.containers.run(
        image.image_id, ["cat", f"/opt/data/{path}"], network_mode="none", remove=True
    )
    return [json.loads(line) for line in output.splitlines()]


@pytest.fixture(scope="module")
def table(
    client: docker.DockerClient, images: dict[str, LockedImage], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The hand-made answers to the first prompts of IFEval."""
    rows = {str(row["key"]): row["prompt"] for row in prompts(client, images["ifbench"], IFEVAL)[:N]}
    lines = [
        {"id": key, "match": rows[key], "kind": "generate", "right": answer.good, "wrong": answer.bad}
        for key, answer in FIRST_TWENTY.items()
    ]
    path = tmp_path_factory.mktemp("ifbench") / "ifeval.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def run(folder: Path, url: str, task: str, **params: Any) -> Ended:
    tree = {
        "target": {"api_endpoint": {"url": f"{url}/v1", "model_id": "fake-model", "type": "chat"}},
        "evaluation": {"tasks": [{"name": f"ifbench.{task}", "params": {"max_retries": 4, **params}}]},
    }
    return run_document(tree, folder)


def run_twenty(folder: Path, url: str, **params: Any) -> Ended:
    return run(folder, url, "ifeval", limit_samples=N, extra={"sampling": "head"}, **params)


def by_hand(endpoint: RunningEndpoint, mode: str) -> tuple[list[float], float]:
    """Return each prompt's verdict and the share of instructions followed, by what the endpoint answered."""
    items = endpoint.stats()["items"]
    verdicts: list[Sequence[bool]] = [
        [True] * len(answer.strict) if items[key]["right"] else getattr(answer, mode)
        for key, answer in FIRST_TWENTY.items()
    ]
    instructions = [verdict for each in verdicts for verdict in each]
    return [float(all(each)) for each in verdicts], sum(instructions) / len(instructions)


def check(results: dict[str, Any], endpoint: RunningEndpoint) -> None:
    found = scores(results, "ifeval")
    for mode in ("strict", "loose"):
        whole, share = by_hand(endpoint, mode)
        value = sum(whole) / N
        metric = found[f"prompt_level_{mode}_acc"]
        assert (metric["value"], metric["n"]) == (pytest.approx(value, abs=1e-12), N)
        assert metric["stderr"] == pytest.approx(math.sqrt(value * (1 - value) / (N - 1)), abs=1e-12)
        assert found[f"inst_level_{mode}_acc"]["value"] == pytest.approx(share, abs=1e-12)
    counts = {"expected": N, "scored": N, "errored": 0}
    assert results["completeness"] | counts == results["completeness"]


@pytest.mark.parametrize("share", [0.0, 0.75])
def test_scores_are_those_counted_by_hand(tmp_path: Path, table: Path, share: float) -> None:
    with running_endpoint(answers=[table], share=share) as endpoint:
        ended = run_twenty(tmp_path, endpoint.url)
        assert ended.code == 0, ended.err
        results = task_results(tmp_path, "ifbench.ifeval")
        check(results, endpoint)
        stats = endpoint.stats()
    strict = scores(results, "ifeval")["prompt_level_strict_acc"]["value"]
    assert strict == share  # no answer of the bad ones follows all
    assert [item["asked"] for item in stats["items"].values()] == [1] * N
    assert stats["unmatched"] <= 2  # the preflight asks on the host and in the container


def test_refused_requests_are_asked_again_and_change_nothing(tmp_path: Path, table: Path) -> None:
    with running_endpoint(answers=[table], share=0.5, faults=[TOO_MANY_REQUESTS]) as endpoint:
        ended = run_twenty(tmp_path, endpoint.url)
        assert ended.code == 0, ended.err
        results = task_results(tmp_path, "ifbench.ifeval")
        check(results, endpoint)
        stats = endpoint.stats()
    assert results["completeness"]["retried"] > 0
    assert [item["answered"] for item in stats["items"].values()] == [1] * N


def test_a_prompt_that_fails_for_good_leaves_no_score(tmp_path: Path, table: Path) -> None:
    fault = {"match": {"item": "1040"}, "action": "status", "status": 500}
    with running_endpoint(answers=[table], share=0.5, faults=[fault]) as endpoint:
        ended = run_twenty(tmp_path, endpoint.url, max_retries=1)
    assert ended.code == 5, ended.err
    results = task_results(tmp_path, "ifbench.ifeval")
    assert results["results"]["tasks"] == {}
    counts = {"expected": N, "scored": N - 1, "errored": 1}
    assert results["completeness"] | counts == results["completeness"]


def keyword_answers(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the table of the prompts that want five keywords once, twice, three, five and seven times."""
    lines = []
    for row in rows:
        if row["instruction_id_list"] == ["count:keywords_multiple"]:
            words = [row["kwargs"][0][f"keyword{number}"] for number in range(1, 6)]
            counts = (1, 2, 3, 5, 7)
            right = " ".join(f"{word} " * count for word, count in zip(words, counts, strict=True))
            about = {"id": row["key"], "match": row["prompt"].strip(), "kind": "generate"}
            lines.append({**about, "right": right, "wrong": words[0]})
    return lines


def test_ifbench_asks_the_288_prompts_that_can_be_scored_and_names_the_others(
    tmp_path: Path, client: docker.DockerClient, images: dict[str, LockedImage]
) -> None:
    rows = prompts(client, images["ifbench"], IFBENCH)
    lines = keyword_answers(rows)
    (tmp_path / "table.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with running_endpoint(answers=[tmp_path / "table.jsonl"], share=1.0) as endpoint:
        ended = run(tmp_path, endpoint.url, "ifbench", max_new_tokens=64)
        stats = endpoint.stats()
    assert ended.code == 0, ended.err
    results = task_results(tmp_path, "ifbench.ifbench")
    assert scores(results, "ifbench")["prompt_level_loose_acc"]["n"] == 288
    counts = {"expected": 288, "scored": 288, "errored": 0}
    assert results["completeness"] | counts == results["completeness"]
    assert results["provenance"]["facts"]["unscorable_prompts"] == ", ".join(UNSCORABLE)
    assert any(
        "6 prompts are not asked" in note and ", ".join(UNSCORABLE) in note for note in results["notes"]
    )
    assert not {row["key"] for row in rows} & set(UNSCORABLE)
    assert len(lines) > 0
    assert [item["asked"] for item in stats["items"].values()] == [1] * len(lines)


def test_ifbench_gives_the_share_of_keywords_that_are_there_as_often_as_asked(
    tmp_path: Path, client: docker.DockerClient, images: dict[str, LockedImage]
) -> None:
    rows = prompts(client, images["ifbench"], IFBENCH)[:4]
    lines = keyword_answers(rows)
    assert len(lines) == 4
    (tmp_path / "table.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with running_endpoint(answers=[tmp_path / "table.jsonl"], share=0.75) as endpoint:
        extra = {"sampling": "head"}
        ended = run(tmp_path, endpoint.url, "ifbench", limit_samples=4, extra=extra)
    assert ended.code == 0, ended.err
    found = scores(task_results(tmp_path, "ifbench.ifbench"), "ifbench")
    assert {metric["value"] for metric in found.values()} == {0.75}
