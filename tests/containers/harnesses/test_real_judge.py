"""A judged task with a real model, which answers and judges: both are asked, through the adapter."""

import json
from pathlib import Path

import pytest
from tests.kit.cli import only_run, run_document, task_results
from tests.kit.deploying import deploying, first_line
from tests.kit.ports import free_port

pytestmark = [pytest.mark.containers, pytest.mark.slow]

ITEMS = 3


@pytest.mark.usefixtures("images")
def test_a_real_model_is_judged_by_a_real_model(tmp_path: Path, model: Path) -> None:
    name, served = "tiny", tmp_path / "served"
    served.mkdir()
    with deploying(served, model, free_port(), "-o", f"deployment.served_model_name={name}") as process:
        url = first_line(process)
        tree = {
            "target": {
                "api_endpoint": {"url": url, "model_id": name, "type": "chat"},
                "auxiliary": {"judge": {"url": url, "model_id": name, "max_new_tokens": 8}},
            },
            "evaluation": {
                "tasks": [
                    {
                        "name": "simple-evals.math_test_500",
                        "params": {"limit_samples": ITEMS, "max_new_tokens": 64, "parallelism": 1},
                    }
                ]
            },
        }
        ended = run_document(tree, tmp_path)
    assert ended.code == 0, ended.err
    results = task_results(tmp_path, "simple-evals.math_test_500")
    assert results["completeness"]["scored"] == ITEMS
    assert results["target"]["auxiliary"]["judge"]["model_id"] == name
    metrics = json.loads((only_run(tmp_path) / "simple-evals.math_test_500" / "metrics.json").read_text())
    assert metrics["requests"] == ITEMS
    assert metrics["auxiliary"]["judge"]["requests"] >= 1
