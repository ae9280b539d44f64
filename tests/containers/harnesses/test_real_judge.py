"""A judged task with a real model, which answers and judges: both are asked, and no verdict is made up."""

import json
import re
from pathlib import Path

import pytest
from tests.kit.cli import evaldock, only_run, run_document, task_results
from tests.kit.deploying import deploying, first_line
from tests.kit.ports import free_port

pytestmark = [pytest.mark.containers, pytest.mark.slow]

TASK, ITEMS, NAME = "inspect.nq_open_judged", 3, "tiny"
VERDICT = re.compile(r"GRADE:\s*[CI]", re.IGNORECASE)


@pytest.mark.usefixtures("images")
def test_a_real_model_is_judged_by_a_real_model(tmp_path: Path, model: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    with deploying(served, model, free_port(), "-o", f"deployment.served_model_name={NAME}") as process:
        url = first_line(process)
        tree = {
            "target": {
                "api_endpoint": {"url": url, "model_id": NAME, "type": "chat"},
                "auxiliary": {"judge": {"url": url, "model_id": NAME, "max_new_tokens": 64}},
            },
            "evaluation": {
                "tasks": [{"name": TASK, "params": {"limit_samples": ITEMS, "max_new_tokens": 32}}]
            },
        }
        ended = run_document(tree, tmp_path)
    metrics = json.loads((only_run(tmp_path) / TASK / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["requests"] == ITEMS, ended.err
    assert metrics["auxiliary"]["judge"]["requests"] == ITEMS
    exchanges = evaldock("exchanges", "--json", cwd=tmp_path).json
    judgements = [
        one["response"]["choices"][0]["message"]["content"] for one in exchanges if one["role"] == "judge"
    ]
    verdicts = sum(VERDICT.search(text) is not None for text in judgements)
    results = task_results(tmp_path, TASK)
    # A model this small seldom gives a verdict in the form that it is asked for.
    assert results["completeness"]["scored"] == verdicts
    assert results["completeness"]["errored"] == ITEMS - verdicts
    assert ended.code == (0 if verdicts == ITEMS else 5)
    assert bool(results["results"]["tasks"]) == (verdicts == ITEMS)
