"""Quick tests of the folder: recorded answers, and questions put to the fake endpoint."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from evaldock.testkit.fake_endpoint import running_endpoint
from evaldock_entrypoints.contract.endpoint import Endpoint
from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.framework import load_framework
from evaldock_entrypoints.run_eval.job import Job

HERE = Path(__file__).parent


def _load(name: str) -> ModuleType:
    """Import a file of this folder under a name that no other harness folder uses."""
    spec = importlib.util.spec_from_file_location(f"tiny_harness_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ask, data, results = _load("ask"), _load("data"), _load("results")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job whose harness has left the recorded answers."""
    (tmp_path / "native").mkdir()
    shutil.copy(HERE / "fixtures" / "answers.json", tmp_path / "native")
    framework = load_framework(HERE)
    url = "http://localhost:8080/v1"
    return Job(
        framework=framework,
        task=framework.tasks[0],
        params={"limit_samples": None},
        extras={},
        endpoint=Endpoint(base_url=url, url=f"{url}/chat/completions", model_id="m", type="chat"),
        output_dir=tmp_path,
        data_dir=tmp_path,
        harness_dir=HERE,
    )


def test_the_last_number_of_an_answer_counts(job: Job) -> None:
    samples = {sample.id: sample for sample in results.parse(job).samples}
    assert [samples[name].correct for name in ("1", "2", "3")] == [True, False, False]
    assert samples["1"].extracted_answer == "2"


def test_what_failed_is_an_error_and_has_no_score(job: Job) -> None:
    (sample,) = [sample for sample in results.parse(job).samples if sample.id == "4"]
    assert sample.error is not None
    assert sample.scores == {}


@pytest.mark.parametrize("content", [None, "", "[{", "[1]", '[{"id": "1"}]'])
def test_answers_that_are_missing_or_torn_are_a_failure(job: Job, content: str | None) -> None:
    path = job.native_dir / "answers.json"
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(HarnessError):
        results.parse(job)


@pytest.mark.parametrize(("limit", "count"), [(None, 20), (3, 3), (0.3, 6), (100, 20)])
def test_a_limit_is_a_number_or_a_share_and_the_same_at_each_start(limit: float | None, count: int) -> None:
    kept = ask.chosen(data.questions(), limit, 42)
    assert len(kept) == count
    assert kept == ask.chosen(data.questions(), limit, 42)


def test_the_data_is_what_its_manifest_says(tmp_path: Path) -> None:
    data.main(tmp_path)
    (entry,) = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))["entries"]
    assert entry["records"] == len(json.loads((tmp_path / entry["path"]).read_text(encoding="utf-8")))


@pytest.mark.parametrize(("kind", "route"), [("chat", "chat/completions"), ("completions", "completions")])
def test_known_answers_are_asked_for_and_kept(tmp_path: Path, kind: str, route: str) -> None:
    data.main(tmp_path)
    rows = [
        {
            "id": item["id"],
            "match": item["question"],
            "kind": "generate",
            "right": item["target"],
            "wrong": "x",
        }
        for item in data.questions()
    ]
    table = tmp_path / "table.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    fault = {"match": {"item": "7"}, "action": "status", "status": 500}
    with running_endpoint(answers=[table], share=1.0, faults=[fault]) as endpoint:
        description = {
            "url": f"{endpoint.url}/v1/{route}",
            "type": kind,
            "model": "fake-model",
            "questions": str(tmp_path / "tiny-harness" / "questions.json"),
            "answers": str(tmp_path / "answers.json"),
            "parallelism": 4,
            "max_tokens": 16,
            "timeout_s": 30,
        }
        (tmp_path / "job.json").write_text(json.dumps(description), encoding="utf-8")
        subprocess.run([sys.executable, HERE / "ask.py", tmp_path / "job.json"], check=True, timeout=60)
        assert endpoint.stats()["unmatched"] == 0
    left = json.loads((tmp_path / "answers.json").read_text(encoding="utf-8"))
    assert [row["id"] for row in left if "error" in row] == ["7"]
    assert all(row["answer"] == row["target"] for row in left if "error" not in row)
