"""simple-evals' humaneval: what the model wrote is asked for outside the sandbox, and run inside it alone."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker
import pytest
from tests.containers.answers import answer_table
from tests.kit.cli import Ended, only_run, run_document, scores, task_results

from evaldock.supply.lock import LockedImage
from evaldock.testkit.fake_endpoint import running_endpoint

pytestmark = [pytest.mark.containers, pytest.mark.slow]

LIMIT = 8
MARKER = "code-was-run-here"
# Each ends well only where it got through; the tests of its problem are then never run.
LEAVE_MARKERS = f"""
    import pathlib
    for place in ("/results/native", "/results/native/output", "/results/native/score", "/results", "."):
        try:
            (pathlib.Path(place) / {MARKER!r}).touch()
        except OSError:
            pass
"""
CALL_OUT = """
    import socket
    for where in (("192.0.2.1", 53), ("169.254.169.254", 80), ("172.17.0.1", 80), ("10.0.2.2", 80)):
        try:
            socket.create_connection(where, timeout=1)
        except OSError:
            continue
        open("/results/native/score/code-called-out", "w").close()
"""


@pytest.fixture(scope="module")
def table(
    client: docker.DockerClient, images: dict[str, LockedImage], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    argv = ["simple_evals_answers.py", "humaneval", str(LIMIT)]
    path = tmp_path_factory.mktemp("simple-evals-code") / "humaneval.jsonl"
    return answer_table(client, images["simple-evals"], argv, path)


def attacked(table: Path, folder: Path, bodies: Mapping[int, str]) -> Path:
    """Return the table with the answers to some problems replaced."""
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    for number, body in bodies.items():
        rows[number]["right"] = rows[number]["wrong"] = f"```python\ndef f():{body}\n```"
    path = folder / "attacked.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def run(tmp_path: Path, url: str, **params: Any) -> Ended:
    tree = {
        "target": {"api_endpoint": {"url": f"{url}/v1", "model_id": "fake-model"}},
        "evaluation": {
            "tasks": [
                {
                    "name": "simple-evals.humaneval",
                    "params": {"limit_samples": LIMIT, "max_retries": 2, **params},
                }
            ]
        },
    }
    return run_document(tree, tmp_path)


def found_below(tmp_path: Path, name: str) -> set[str]:
    task = only_run(tmp_path) / "simple-evals.humaneval"
    return {str(path.parent.relative_to(task)) for path in task.rglob(name)}


def test_the_share_that_was_right_is_reported_and_each_problem_is_asked_once(
    tmp_path: Path, table: Path
) -> None:
    busy = {"match": {"share": 0.2, "first_n": 1}, "action": "status", "status": 429}
    with running_endpoint(answers=[table], share=0.5, faults=[busy]) as endpoint:
        ended = run(tmp_path, endpoint.url)
        answered = [item["answered"] for item in endpoint.stats()["items"].values()]
    assert ended.code == 0, ended.err
    assert answered == [1] * LIMIT  # the second start asked nobody
    results = task_results(tmp_path, "simple-evals.humaneval")
    found = scores(results, "humaneval")["pass@1"]
    assert (found["value"], found["n"]) == (0.5, LIMIT)
    assert found["stderr"] == pytest.approx(math.sqrt(0.25 / (LIMIT - 1)), abs=1e-12)
    assert results["completeness"] | {"expected": LIMIT, "scored": LIMIT} == results["completeness"]


def test_code_is_run_in_the_sandbox_alone_which_has_no_network_and_one_folder(
    tmp_path: Path, table: Path
) -> None:
    table = attacked(table, tmp_path, {0: LEAVE_MARKERS, 1: CALL_OUT})
    with running_endpoint(answers=[table], share=1.0) as endpoint:
        ended = run(tmp_path, endpoint.url)
    assert ended.code == 0, ended.err
    # It was run, so its marker is in the one folder that the sandbox may write, and in no other.
    assert found_below(tmp_path, MARKER) == {"native/score"}
    assert not found_below(tmp_path, "code-called-out")
    found = scores(task_results(tmp_path, "simple-evals.humaneval"), "humaneval")["pass@1"]
    assert found["value"] == (LIMIT - 2) / LIMIT


def test_code_that_changes_an_answer_in_the_store_gives_no_score(tmp_path: Path, table: Path) -> None:
    forge = """
    import sqlite3
    store = "/results/native/score/output/humaneval/cache/cache.sqlite/cache.db"
    with sqlite3.connect(store, timeout=5) as connection:
        connection.execute("UPDATE Cache SET value = replace(value, 'return', 'retorn')")
"""
    table = attacked(table, tmp_path, {LIMIT - 1: forge})
    with running_endpoint(answers=[table], share=1.0) as endpoint:
        ended = run(tmp_path, endpoint.url, parallelism=1)
    assert ended.code == 4, ended.err
    assert "not those that were generated" in ended.err
    assert task_results(tmp_path, "simple-evals.humaneval")["results"]["tasks"] == {}


def test_repeats_which_the_wheel_would_square_are_refused(tmp_path: Path, table: Path) -> None:
    with running_endpoint(answers=[table], share=1.0) as endpoint:
        ended = run(tmp_path, endpoint.url, repeats=2)
        asked = sum(item["asked"] for item in endpoint.stats()["items"].values())
    assert (ended.code, asked) == (4, 0), ended.err
    assert "takes no repeats" in ended.err
