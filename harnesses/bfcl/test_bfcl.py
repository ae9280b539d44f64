"""Quick tests of the bfcl folder: a recorded run, and what a conversation may evaluate."""

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evaldock_entrypoints.contract.endpoint import Endpoint
from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.framework import load_framework
from evaldock_entrypoints.contract.results import MetricClaim, Sample
from evaldock_entrypoints.run_eval.job import Job
from evaldock_entrypoints.run_eval.prove import prove

HERE = Path(__file__).parent
RECORDED = 14  # two cases of each of the seven categories; one of irrelevance got status 500
FILES = "endpoint-prompt/non_live/BFCL_v4_{}_{}.json"


def _load(name: str) -> ModuleType:
    """Import a file of this folder under a name that no other harness folder uses."""
    spec = importlib.util.spec_from_file_location(f"bfcl_harness_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


results, expressions = _load("results"), _load("expressions")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job whose folder holds the recorded run of bfcl_v4_non_live_prompting."""
    shutil.copytree(HERE / "fixtures" / "native", tmp_path / "native")
    framework = load_framework(HERE)
    task = framework.task("bfcl.bfcl_v4_non_live_prompting")
    assert task is not None
    url = "http://localhost:8080/v1"
    return Job(
        framework=framework,
        task=task,
        params={},
        extras={},
        endpoint=Endpoint(base_url=url, url=f"{url}/chat/completions", model_id="fake-model", type="chat"),
        output_dir=tmp_path,
        data_dir=tmp_path,
        harness_dir=HERE,
    )


def _edit(path: Path, change: Any) -> None:
    """Replace a file's JSON lines by what `change` makes of them."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    changed = change(rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in changed), encoding="utf-8")


def _result_file(job: Job, category: str) -> Path:
    return job.native_dir / "result" / FILES.format(category, "result")


def _score_file(job: Job, category: str) -> Path:
    return job.native_dir / "score" / FILES.format(category, "score")


def _sample(samples: list[Sample], ending: str) -> Sample:
    (found,) = [sample for sample in samples if sample.id.endswith(f"/{ending}")]
    return found


def _group(claims: list[MetricClaim]) -> MetricClaim:
    (found,) = [claim for claim in claims if claim.group]
    return found


def test_every_case_is_a_sample_right_ones_too_that_no_score_file_names(job: Job) -> None:
    samples = results.parse(job).samples
    assert len({sample.id for sample in samples}) == RECORDED
    right = [sample for sample in samples if sample.correct]
    assert {sample.id.split("/")[1] for sample in right} == set(
        json.loads((job.native_dir / "selection.json").read_text())["categories"]
    )
    assert all(sample.prompt_hash and sample.finish_reason == "stop" for sample in right)


def test_an_inference_error_that_bfcl_counts_as_right_is_an_error(job: Job) -> None:
    header = json.loads(_score_file(job, "irrelevance").read_text().splitlines()[0])
    assert header == {"accuracy": 1.0, "correct_count": 2, "total_count": 2}  # one of both got status 500
    failed = _sample(results.parse(job).samples, "irrelevance_1")
    assert failed.error is not None
    assert (failed.error.kind, failed.scores) == ("endpoint", {})
    assert failed.error.message.startswith("Error code: 500")


def test_words_of_an_inference_error_said_by_a_model_are_an_answer(job: Job) -> None:
    def say_it(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**row, "result": "Error during inference: lunch"} for row in rows]

    _edit(_result_file(job, "multiple"), say_it)
    sample = _sample(results.parse(job).samples, "multiple_0")
    assert (sample.error, sample.response) == (None, "Error during inference: lunch")


def test_the_groups_accuracy_is_the_unweighted_mean_without_irrelevance(job: Job) -> None:
    _edit(_score_file(job, "simple_java"), lambda _: [_header(0, 2), *_failed("simple_java", 2)])
    _edit(_score_file(job, "parallel"), lambda _: [_header(2, 2)])
    claim = _group(list(results.parse(job).claims))
    simple = (0.5 + 0.0 + 0.5) / 3
    assert claim.value == pytest.approx((simple + 0.5 + 1.0 + 0.5) / 4, abs=1e-15)
    assert (claim.method, claim.within, claim.task) == ("harness", "overall/", "bfcl_v4_non_live_prompting")
    # Of two values, one of them right, the standard error is 1/2.
    parts = [(1 / 12) * 0.5] * 2 + [0.25 * 0.5] * 2
    assert claim.stderr == pytest.approx(sum(part**2 for part in parts) ** 0.5, abs=1e-15)


def test_the_proof_counts_twelve_cases_in_the_groups_accuracy(job: Job) -> None:
    def answer(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**rows[0], "id": row["id"]} for row in rows]

    _edit(_result_file(job, "irrelevance"), answer)
    proof = prove(results.parse(job), expected=RECORDED)
    assert (proof.status, proof.completeness.scored) == ("complete", RECORDED)
    assert proof.groups["bfcl_v4_non_live_prompting"]["acc"].n == 12
    assert proof.tasks["bfcl_v4_irrelevance_prompting"]["acc"].value == 1.0
    assert proof.tasks["bfcl_v4_parallel_prompting"]["acc"].n == 2  # parallel_multiple stands apart


def test_a_live_groups_accuracy_is_the_mean_over_its_cases(job: Job) -> None:
    task = job.framework.task("bfcl_v4_live_prompting")
    assert task is not None
    selection = json.loads((job.native_dir / "selection.json").read_text())
    renamed = {"simple_python": "live_simple", "multiple": "live_multiple", "irrelevance": "live_irrelevance"}
    selection["categories"] = {new: selection["categories"][old] for old, new in renamed.items()}
    (job.native_dir / "selection.json").write_text(json.dumps(selection))
    for old, new in renamed.items():
        _result_file(job, old).rename(_result_file(job, new))
        _score_file(job, old).rename(_score_file(job, new))
    outcome = results.parse(replace(job, task=task))
    claim = _group(list(outcome.claims))
    values = [sample.scores[claim.score] for sample in outcome.samples if claim.score in sample.scores]
    assert (claim.method, sum(values), len(values)) == ("mean", 2.0, 4)


def test_a_case_without_a_result_line_is_missing_and_no_default(job: Job) -> None:
    _edit(_result_file(job, "multiple"), lambda rows: rows[:1])
    header = json.loads(_score_file(job, "multiple").read_text().splitlines()[0])
    kept = json.loads(_result_file(job, "multiple").read_text())["id"]
    _edit(
        _score_file(job, "multiple"),
        lambda rows: (
            [_header(int(all(row["id"] != kept for row in rows[1:])), 1)]
            + [row for row in rows[1:] if row["id"] == kept]
        ),
    )
    assert header["total_count"] == 2
    proof = prove(results.parse(job), expected=RECORDED)
    assert proof.status == "incomplete"
    assert proof.reasons[0] == f"1 of {RECORDED} samples are missing from the harness's own log"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [{**rows[0], "correct_count": 2}, *rows[1:]], "2 of 2 correct"),
        (lambda rows: [rows[0]], "2 answers and 0 failures"),
        (lambda rows: [*rows, {**rows[1], "id": "multiple_77"}], "failures without an answer"),
    ],
)
def test_scores_of_other_answers_are_refused(job: Job, change: Any, message: str) -> None:
    _edit(_score_file(job, "multiple"), change)
    with pytest.raises(HarnessError, match=message):
        results.parse(job)


def test_an_answer_to_a_case_that_was_not_chosen_is_refused(job: Job) -> None:
    _edit(_result_file(job, "multiple"), lambda rows: [*rows, {**rows[0], "id": "multiple_77"}])
    with pytest.raises(HarnessError, match="not chosen, such as multiple_77"):
        results.parse(job)


def test_a_case_that_stands_twice_is_refused(job: Job) -> None:
    _edit(_result_file(job, "multiple"), lambda rows: [*rows, rows[0]])
    with pytest.raises(HarnessError, match="twice"):
        results.parse(job)


@pytest.mark.parametrize(
    "name",
    ["score/score.json", "selection.json", f"result/{FILES.format('multiple', 'result')}"],
)
@pytest.mark.parametrize("torn", [True, False])
def test_a_run_that_did_not_finish_has_no_result(job: Job, name: str, torn: bool) -> None:
    path = job.native_dir / name
    if torn:
        path.write_text(path.read_text(encoding="utf-8")[:-4], encoding="utf-8")
    else:
        path.unlink()
    with pytest.raises(HarnessError, match="no finished result"):
        results.parse(job)


def test_expressions_that_bfcl_would_have_run_are_told(job: Job) -> None:
    def refuse(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        log = [{"role": "tool", "content": f"Error during execution: {expressions.REFUSED}Name"}]
        return [{**rows[0], "inference_log": log}, *rows[1:]]

    _edit(_result_file(job, "multiple"), refuse)
    assert results.parse(job).notes[-1].startswith("in 1 conversations an expression")


class _World:
    """What a conversation acts on."""

    def go(self, *places: Any, to: Any = None) -> list[Any]:
        return [*places, to]

    def _secret(self) -> str:
        return "secret"


NAMES = {"w_instance": _World(), "os": importlib}


@pytest.mark.parametrize(
    "source",
    [
        "w_instance.go('a', to={'b': [1, -2.5, (True, None)]})",
        "w_instance.go(to=w_instance.go(to=3))",
        "w_instance.go(to=(2 + 3) * 4 / 8 - 10 % 4 ** 2 // 3)",
    ],
)
def test_calls_of_the_functions_on_offer_give_what_eval_gives(source: str) -> None:
    assert expressions.evaluator(NAMES)(source) == eval(source, dict(NAMES))


@pytest.mark.parametrize(
    "source",
    [
        *("os.system('id')", "__import__('os')", "w_instance._secret()", "w_instance.go.__globals__"),
        *("w_instance.__class__()", "[x for x in (1,)]", "(lambda: 1)()", "w_instance.go(*[1])"),
        *(
            "w_instance.go(to=9**9**9)",
            "w_instance.go(to='a'*9**9)",
            "w_instance",
            "w_instance.go(to=f'{1}')",
        ),
        *("w_instance.go(**{'to': 1})", "'{0.__class__}'.format(1)", "w_instance.go(to=os)"),
    ],
)
def test_everything_else_is_refused(source: str) -> None:
    with pytest.raises(expressions.RefusedError if "__import__" not in source else NameError):
        expressions.evaluator(NAMES)(source)


def test_an_unknown_function_is_told_as_eval_tells_it() -> None:
    with pytest.raises(NameError, match="name 'fly' is not defined"):
        expressions.evaluator(NAMES)("fly(to='Rome')")


def test_every_category_stands_in_both_modes_and_in_the_group_that_is_its_own() -> None:
    tasks = {task.name: task for task in load_framework(HERE).tasks}
    native = {name for name in tasks if not name.endswith("_prompting")}
    assert {f"{name}_prompting" for name in native} == set(tasks) - native
    for group in ("non_live", "live", "multi_turn"):
        members = {source.config for source in tasks[f"bfcl_v4_{group}"].data}
        assert {f"bfcl_v4_{member}" for member in members} <= native
        assert set(results._in_overall(group)) <= members
        assert {member for member in members if "relevance" in member} == members - set(
            results._in_overall(group)
        )


def _header(correct: int, total: int) -> dict[str, Any]:
    return {"accuracy": correct / total, "correct_count": correct, "total_count": total}


def _failed(category: str, count: int) -> list[dict[str, Any]]:
    return [{"id": f"{category}_{number}", "valid": False} for number in range(count)]
