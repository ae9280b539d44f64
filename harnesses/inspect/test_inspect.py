"""results.py on recorded logs of Inspect, and the launcher's decisions that need no Inspect."""

import importlib.util
import json
import lzma
import sys
from collections.abc import Callable
from dataclasses import replace
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
PARAMS = {
    "limit_samples": 3,
    "parallelism": 4,
    "temperature": 0.5,
    "top_p": 0.9,
    "max_new_tokens": 256,
    "request_timeout": 300,
    "max_retries": 5,
    "seed": 42,
    "repeats": 1,
}
Change = Callable[[dict[str, Any]], object]


def job(
    tmp_path: Path, task: str, log: str | None = None, change: Change = lambda _: None, **params: Any
) -> Job:
    """Return a job of the task whose native folder holds the recorded log, changed by `change`."""
    framework = load_framework(HERE)
    found = framework.task(task)
    assert found is not None
    (tmp_path / "native").mkdir()
    if log is not None:
        with lzma.open(HERE / "fixtures" / f"{log}.json.xz", "rt") as file:
            tree = json.load(file)
        change(tree)
        (tmp_path / "native" / "log.json").write_text(json.dumps(tree))
    return Job(
        framework=framework,
        task=found,
        params={**PARAMS, **params},
        extras={name: extra.default for name, extra in framework.extras.items()} | found.extras,
        endpoint=Endpoint(
            base_url="http://endpoint:8080/v1",
            url="http://endpoint:8080/v1/chat/completions",
            model_id="fake-model",
            type="chat",
        ),
        output_dir=tmp_path,
        data_dir=tmp_path,
        harness_dir=HERE,
    )


@pytest.fixture(scope="module")
def launcher() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_inspect", HERE / "run_inspect.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["run_inspect"] = module
    spec.loader.exec_module(module)
    return module


def test_every_item_and_repeat_is_a_sample_and_the_mean_is_what_inspect_printed(tmp_path: Path) -> None:
    at = job(tmp_path, "gsm8k", "gsm8k", repeats=2)
    outcome = parse(at)
    assert len({(sample.id, sample.repeat) for sample in outcome.samples}) == 6
    assert {sample.repeat for sample in outcome.samples} == {0, 1}
    proof = prove(outcome, 6)
    assert proof.status == "complete"
    printed = json.loads((at.native_dir / "log.json").read_text())["results"]["scores"][0]["metrics"]
    assert proof.tasks["gsm8k"]["accuracy"].value == pytest.approx(printed["accuracy"]["value"], abs=1e-12)
    assert proof.tasks["gsm8k"]["accuracy"].value == pytest.approx(2 / 3)
    assert (outcome.num_fewshot, outcome.totals, outcome.harness_version) == (0, [1319], "0.3.285")


def test_a_sample_carries_answer_target_tokens_and_prompt_hash(tmp_path: Path) -> None:
    samples = parse(job(tmp_path, "gsm8k", "gsm8k", repeats=2)).samples
    for sample in samples:
        assert sample.response is not None
        assert sample.response.endswith(f"ANSWER: {sample.extracted_answer}")
        assert sample.correct == (sample.extracted_answer == sample.target)
        assert (sample.finish_reason, sample.error) == ("stop", None)
        assert sample.prompt_tokens
        assert sample.completion_tokens
        assert sample.latency_ms
    hashes = {sample.id: {one.prompt_hash for one in samples if one.id == sample.id} for sample in samples}
    assert [len(found) for found in hashes.values()] == [1, 1, 1]


def test_a_failed_sample_is_an_error_although_inspect_reports_an_accuracy_of_the_rest(tmp_path: Path) -> None:
    outcome = parse(job(tmp_path, "gsm8k", "errored"))
    (failed,) = [sample for sample in outcome.samples if sample.error]
    assert failed.error is not None
    assert failed.error.kind == "endpoint"
    assert "500" in failed.error.message
    assert (failed.scores, failed.correct, failed.response) == ({}, None, None)
    proof = prove(outcome, 3)
    assert (proof.status, proof.completeness.scored, proof.completeness.errored) == ("incomplete", 2, 1)


def test_what_inspect_keeps_apart_stands_in_the_error(tmp_path: Path) -> None:
    name = "0" * 32

    def put_apart(tree: dict[str, Any]) -> None:
        for sample in tree["samples"]:
            failed = [event for event in sample["events"] if event.get("call", {}).get("error")]
            for event in failed:
                event["error"] = f"attachment://{name}"
                sample["attachments"] = {**sample.get("attachments", {}), name: "the prompt is too long"}

    outcome = parse(job(tmp_path, "arc_challenge", "context", put_apart, limit_samples=2))
    assert {sample.error.message for sample in outcome.samples if sample.error} == {"the prompt is too long"}


def test_an_error_message_that_inspect_took_for_an_answer_is_an_error(tmp_path: Path) -> None:
    outcome = parse(job(tmp_path, "arc_challenge", "context", limit_samples=2))
    assert outcome.claims[0].value == 0.5  # "… ANSWER: A" in an HTTP 400
    assert [sample.error.kind for sample in outcome.samples if sample.error] == ["endpoint", "endpoint"]
    assert all("maximum context length" in str(sample.error) for sample in outcome.samples)
    assert prove(outcome, 2).completeness.scored == 0


def test_a_judges_verdicts_are_the_scores(tmp_path: Path) -> None:
    outcome = parse(job(tmp_path, "nq_open_judged", "nq_open_judged", limit_samples=2))
    assert [sample.extracted_answer for sample in outcome.samples] == ["C", "I"]
    assert prove(outcome, 2).tasks["nq_open_judged"]["accuracy"].value == 0.5


def test_a_judge_without_a_verdict_makes_the_run_incomplete(tmp_path: Path) -> None:
    def unscored(tree: dict[str, Any]) -> None:
        score = tree["samples"][0]["scores"]["model_graded_fact"]
        score |= {"value": float("nan"), "explanation": "Grade not found in model output: well"}

    outcome = parse(job(tmp_path, "nq_open_judged", "nq_open_judged", unscored, limit_samples=2))
    assert [bool(sample.error) for sample in outcome.samples] == [True, False]
    assert prove(outcome, 2).status == "incomplete"


def test_a_panels_mean_is_reported_in_all_and_by_domain(tmp_path: Path) -> None:
    proof = prove(parse(job(tmp_path, "writingbench", "writingbench", limit_samples=2)), 2)
    assert proof.status == "complete"
    metrics = proof.tasks["writingbench"]
    assert (metrics["mean"].value, metrics["mean"].n) == (8.0, 2)
    assert {name.partition("=")[0] for name in metrics} == {"mean", "domain1", "domain2"}
    assert sum(metric.n for name, metric in metrics.items() if name.startswith("domain1=")) == 2


def test_a_grade_that_could_not_be_read_is_no_smaller_panel(tmp_path: Path) -> None:
    def unread(tree: dict[str, Any]) -> None:
        calls = [event for event in tree["samples"][0]["events"] if event["event"] == "model"]
        calls[3]["output"]["completion"] = "I would rather not say"

    outcome = parse(job(tmp_path, "writingbench", "writingbench", unread, limit_samples=2))
    (failed,) = [sample for sample in outcome.samples if sample.error]
    assert "4 of 5 grades" in str(failed.error)
    assert prove(outcome, 2).status == "incomplete"


def test_a_log_of_an_error_is_a_failure_of_the_harness(tmp_path: Path) -> None:
    def error(tree: dict[str, Any]) -> None:
        tree |= {"status": "error", "error": {"message": "no\nluck"}}

    with pytest.raises(HarnessError, match='status "error": no luck'):
        parse(job(tmp_path, "gsm8k", "gsm8k", error, repeats=2))


def test_a_log_without_results_has_every_sample_failed(tmp_path: Path) -> None:
    def fail(tree: dict[str, Any]) -> None:
        del tree["results"]
        for sample in tree["samples"]:
            sample |= {"scores": {}, "error": {"message": "RetryError()"}}

    proof = prove(parse(job(tmp_path, "gsm8k", "gsm8k", fail, repeats=2)), 6)
    assert (proof.status, proof.completeness.errored, proof.tasks) == ("incomplete", 6, {})


def test_no_log_and_a_torn_log_are_failures_of_the_harness(tmp_path: Path) -> None:
    at = job(tmp_path, "gsm8k")
    with pytest.raises(HarnessError, match="0 logs"):
        parse(at)
    (at.native_dir / "log.json").write_text('{"status": "success", "samples": [')
    with pytest.raises(HarnessError, match="cut short"):
        parse(at)


def test_a_claim_that_its_samples_do_not_carry_is_refused(tmp_path: Path) -> None:
    def forge(tree: dict[str, Any]) -> None:
        tree["results"]["scores"][0]["metrics"]["accuracy"]["value"] += 0.01

    outcome = parse(job(tmp_path, "gsm8k", "gsm8k", forge, repeats=2))
    with pytest.raises(HarnessError, match="its own samples give"):
        prove(outcome, 6)


def test_a_missing_sample_makes_the_run_incomplete(tmp_path: Path) -> None:
    outcome = parse(job(tmp_path, "gsm8k", "gsm8k", lambda tree: tree["samples"].pop(), repeats=2))
    assert prove(outcome, 6).completeness.scored == 5


def test_a_limit_says_which_items_it_took(tmp_path: Path) -> None:
    at = job(tmp_path, "gsm8k", "gsm8k", repeats=2)
    assert parse(at).notes == ["limit_samples 3: a random sample by seed 42 of 1319 items"]
    head = replace(at, extras=at.extras | {"sampling": "head"})
    assert parse(head).notes == ["limit_samples 3: the first ones of 1319 items"]


def test_every_parameter_reaches_the_launcher(tmp_path: Path) -> None:
    at = job(tmp_path, "gsm8k", repeats=2, limit_samples=0.1)
    run = render(at.framework.phases[0].files["run.json"], template_values(at))
    assert run["generate"] == {"temperature": 0.5, "top_p": 0.9, "max_tokens": 256, "max_connections": 4}
    assert (run["limit"], run["seed"], run["epochs"], run["num_fewshot"]) == (0.1, 42, 2, 0)
    assert run["target"] == {"model": "fake-model", "base_url": "http://endpoint:8080/v1"}
    assert run["judge"] == {}


def test_a_limit_is_a_number_of_items_or_a_share_rounded_up(launcher: ModuleType) -> None:
    assert [launcher.count(limit, 30) for limit in (None, 7, 99, 0.01)] == [None, 7, 30, 1]


@pytest.mark.parametrize(
    ("task", "asked", "refused"),
    [
        ("gsm8k", {"num_fewshot": 5}, False),
        ("mmlu_5_shot", {"num_fewshot": 5}, False),
        ("mmlu_5_shot", {"num_fewshot": 3}, True),
        ("arc_easy", {"num_fewshot": 3}, True),
        ("arc_easy", {"cot": True}, True),
        ("mmlu_0_shot", {"cot": True}, False),
    ],
)
def test_what_a_task_cannot_do_is_refused(
    launcher: ModuleType, task: str, asked: dict[str, Any], refused: bool
) -> None:
    assert (launcher.refusal({"task": task, **asked}) is not None) == refused


def test_an_earlier_starts_log_is_removed(launcher: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("{}")
    run = {"log_dir": str(tmp_path), "task": "arc_easy", "cot": True}
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "run.json").write_text(json.dumps(run))
    with pytest.raises(SystemExit) as ended:
        launcher.main(tmp_path / "work" / "run.json")
    assert ended.value.code == 2
    assert not (tmp_path / "old.json").exists()
