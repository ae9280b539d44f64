"""results.py on recorded native output, and the launcher's decisions that need no RULER."""

import importlib.util
import json
import tarfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evaldock_entrypoints.contract.endpoint import Endpoint
from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.framework import load_framework
from evaldock_entrypoints.run_eval.job import Job
from evaldock_entrypoints.run_eval.outcome import parse
from evaldock_entrypoints.run_eval.phases import template_values
from evaldock_entrypoints.run_eval.prove import prove
from evaldock_entrypoints.run_eval.template import render

HERE = Path(__file__).parent
PARAMS = {"parallelism": 16, "temperature": 0.5, "top_p": 0.9, "max_new_tokens": None, "request_timeout": 300}
KNOWN = ["niah_single_1", "vt", "qa_1"]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job whose native folder is that of a recorded run: niah_single_1 and vt, three samples each.

    Recorded: one sample right, one wrong, one null; one right, one with two of five names, one failed.
    """
    with tarfile.open(HERE / "fixtures" / "ruler_4k.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    framework = load_framework(HERE)
    task = framework.task("ruler_4k")
    assert task is not None
    extras = {name: extra.default for name, extra in framework.extras.items()}
    return Job(
        framework=framework,
        task=task,
        params={**PARAMS, "limit_samples": 3, "seed": 7, "repeats": 1},
        extras={**extras, **task.extras},
        endpoint=Endpoint(
            base_url="http://endpoint:8080/v1",
            url="http://endpoint:8080/v1/chat/completions",
            model_id="fake-model",
            type="chat",
        ),
        output_dir=tmp_path,
        data_dir=tmp_path / "data",
        harness_dir=HERE,
    )


@pytest.fixture
def launcher() -> ModuleType:
    """run_ruler.py as a module."""
    spec = importlib.util.spec_from_file_location("run_ruler", HERE / "run_ruler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_sample_has_its_own_score(job: Job) -> None:
    outcome = parse(job)
    accuracy = {sample.id: sample.scores.get("accuracy") for sample in outcome.samples}
    assert accuracy == {
        "niah_single_1/0": 1.0,
        "niah_single_1/1": 0.0,
        "niah_single_1/2": 0.0,
        "vt/0": 1.0,
        "vt/1": pytest.approx(2 / 5),
        "vt/2": None,
    }
    assert [sample.correct for sample in outcome.samples] == [True, False, False, True, False, None]
    assert outcome.facts["nulls"] == 1
    assert outcome.notes == ["the first 3 of 500 samples of each sub-task"]


def test_a_failed_question_is_an_error_and_no_score(job: Job) -> None:
    outcome = parse(job)
    failed = outcome.samples[-1].error
    assert failed is not None
    assert (failed.kind, failed.message[:9]) == ("endpoint", "HTTP 500:")
    proof = prove(outcome, expected=6)
    assert (proof.status, proof.completeness.scored, proof.completeness.errored) == ("incomplete", 5, 1)


def test_an_answer_that_is_neither_there_nor_failed_is_missing(job: Job) -> None:
    (job.native_dir / "errors.jsonl").unlink()
    outcome = parse(job)
    assert len(outcome.samples) == 5
    assert "missing" in prove(outcome, expected=6).reasons[0]


def test_a_sub_task_without_any_answer_has_no_score(job: Job) -> None:
    folder = job.native_dir / "pred"
    (folder / "vt.jsonl").write_text("", encoding="utf-8")
    scores = json.loads((folder / "per_sample_scores.json").read_text(encoding="utf-8"))
    (folder / "per_sample_scores.json").write_text(json.dumps({**scores, "vt": []}), encoding="utf-8")
    outcome = parse(job)
    assert all(sample.error for sample in outcome.samples if sample.id.startswith("vt/"))
    assert prove(outcome, expected=6).status == "incomplete"


def test_a_score_that_the_samples_do_not_carry_is_refused(job: Job) -> None:
    summary = job.native_dir / "pred" / "summary.csv"
    summary.write_text(summary.read_text(encoding="utf-8").replace("33.33", "66.67"), encoding="utf-8")
    with pytest.raises(HarnessError, match=r"RULER printed 66\.67 for niah_single_1"):
        parse(job)


@pytest.mark.parametrize("name", ["finished.json", "pred/per_sample_scores.json", "pred/summary.csv"])
@pytest.mark.parametrize("content", [None, "{"])
def test_missing_and_torn_output_is_no_result(job: Job, name: str, content: str | None) -> None:
    path = job.native_dir / name
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(HarnessError, match="RULER left no finished result"):
        parse(job)


def test_lines_without_scores_are_no_result(job: Job) -> None:
    answers = job.native_dir / "pred" / "vt.jsonl"
    answers.write_text(answers.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    with pytest.raises(HarnessError, match="RULER left no finished result"):
        parse(job)


def test_the_configuration_carries_the_parameters(job: Job) -> None:
    rendered = render(job.framework.phases[0].files["run.json"], template_values(job))
    expected: dict[str, Any] = {
        "mode": "chat",
        "limit_samples": 3,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "threads": 16,
        "max_seq_length": 4096,
        "subtasks": "all",
        "data_seed": 42,
    }
    assert rendered | expected == rendered
    assert not {"max_new_tokens", "tokenizer"} & set(rendered)
    json.dumps(rendered)


@pytest.mark.parametrize(
    ("wanted", "names"), [("all", KNOWN), ("vt", ["vt"]), ("qa_1, niah_single_1", ["niah_single_1", "qa_1"])]
)
def test_subtasks_are_chosen_in_rulers_order(launcher: ModuleType, wanted: str, names: list[str]) -> None:
    assert launcher.chosen(wanted, KNOWN) == names


def test_an_unknown_subtask_is_refused(launcher: ModuleType) -> None:
    with pytest.raises(launcher.RefusedError, match="needle"):
        launcher.chosen("vt,needle", KNOWN)


@pytest.mark.parametrize(("limit", "count"), [(None, 500), (3, 3), (0.01, 5), (0.0001, 1), (900, 500)])
def test_a_limit_is_a_number_or_a_share(launcher: ModuleType, limit: float | None, count: int) -> None:
    assert launcher.sample_count(limit) == count


@pytest.mark.parametrize(
    "run", [{"tokenizer_type": "hf"}, {"tokenizer_type": "openai", "tokenizer": "/a/folder"}]
)
def test_a_tokenizer_that_would_not_be_read_is_refused(launcher: ModuleType, run: dict[str, str]) -> None:
    with pytest.raises(launcher.RefusedError, match="tokenizer"):
        launcher.tokenizer(run)
