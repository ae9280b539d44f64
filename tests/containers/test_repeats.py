"""Goal T4: repeats of a question are answers of their own, and pass@k is the unbiased one."""

import json
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.containers.answers import humaneval_answers
from tests.kit.cli import run_document, scores, task_results
from tests.kit.closed_form import pass_at_k

from evaldock.supply.lock import LockedImage
from evaldock.testkit.fake_endpoint import running_endpoint

pytestmark = [pytest.mark.containers, pytest.mark.slow]

REPEATS = 12
RIGHT = (0, 1, 2, 7)  # of the repeats of each problem


def test_native_repeats_that_differ_are_estimated_as_every_choice_of_k_of_them_says(
    tmp_path: Path, client: docker.DockerClient, images: dict[str, LockedImage]
) -> None:
    table = humaneval_answers(client, images["human-eval"], "completions", tmp_path)
    lines = table.read_text(encoding="utf-8").splitlines()[: len(RIGHT)]
    rows = [
        json.loads(line) | {"right_at": list(range(1, count + 1))}
        for line, count in zip(lines, RIGHT, strict=True)
    ]
    table.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    params: dict[str, Any] = {"limit_samples": len(RIGHT), "repeats": REPEATS, "temperature": 0.8}
    with running_endpoint(answers=[table], share=0.0) as endpoint:
        tree = {
            "target": {
                "api_endpoint": {"url": f"{endpoint.url}/v1", "model_id": "fake-model", "type": "completions"}
            },
            "evaluation": {
                "tasks": [
                    {
                        "name": "humaneval",
                        "params": {**params, "max_new_tokens": 2048, "extra": {"sampling": "head"}},
                    }
                ]
            },
        }
        ended = run_document(tree, tmp_path)
        items = endpoint.stats()["items"].values()
        assert [item["asked"] for item in items] == [REPEATS] * len(RIGHT)
        assert sorted(item["right"] for item in items) == sorted(RIGHT)
    assert ended.code == 0, ended.err
    outcomes = [[repeat < count for repeat in range(REPEATS)] for count in RIGHT]
    found = scores(task_results(tmp_path, "human-eval.humaneval"), "humaneval")
    assert set(found) == {"pass@1", "pass@10"}
    for k in (1, 10):
        assert found[f"pass@{k}"]["value"] == pytest.approx(pass_at_k(outcomes, k), abs=1e-12)
        assert found[f"pass@{k}"]["n"] == len(RIGHT)
    assert 0 < found["pass@1"]["value"] < found["pass@10"]["value"] < 1
