"""Quick tests of the simple-evals folder on a recorded store: four questions, each asked twice."""

import importlib.util
import json
import sqlite3
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from evaldock_entrypoints.contract.endpoint import endpoint_at
from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.framework import load_framework
from evaldock_entrypoints.run_eval.job import Job
from evaldock_entrypoints.run_eval.prove import prove

HERE = Path(__file__).parent
RECORDED: dict[str, Any] = json.loads((HERE / "fixtures" / "answers.json").read_text(encoding="utf-8"))
LOG = "100%|██████████| {0}/{0} [00:00<00:00, 56.94it/s]\n"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"simple_evals_harness_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


results = _load("results")
ask_only = _load("ask_only")


def job(folder: Path, limit: int | None = 4, *, task: str = "mmlu", repeats: int = 2) -> Job:
    framework = load_framework(HERE)
    found = framework.task(task)
    assert found is not None
    return Job(
        framework=framework,
        task=found,
        params={"limit_samples": limit, "repeats": repeats},
        extras={},
        endpoint=endpoint_at("http://h/v1", model_id="m", endpoint_type="chat", api_key_name=None),
        output_dir=folder,
        data_dir=folder,
        harness_dir=HERE,
    )


def figures(**values: float) -> dict[str, Any]:
    scores = {name: {"value": value, "stats": {"stderr": 0.0}} for name, value in values.items()}
    return {"metrics": {"score": {"scores": scores}}}


def left_behind(
    folder: Path, answers: dict[str, Any], *, micro: float = 0.5, macro: float = 0.5, stem: float = 0.5
) -> Job:
    """Write the store, the log and the figures as the wheel left them."""
    made = job(folder)
    store = made.native_dir / "output" / "mmlu" / "cache" / "cache.sqlite"
    (store / "ab").mkdir(parents=True)
    with sqlite3.connect(store / "cache.db") as connection:
        connection.execute("CREATE TABLE Cache (key BLOB, filename TEXT, value BLOB)")
        for key, answer in answers.items():
            content = json.dumps(answer).encode()
            name = "ab/long.val" if len(content) > 32_768 else None
            if name:
                (store / name).write_bytes(content)
            row = (key, name, None if name else content)
            connection.execute("INSERT INTO Cache VALUES (?, ?, ?)", row)
    made.logs_dir.mkdir()
    (made.logs_dir / "command.log").write_text(LOG.format(8), encoding="utf-8")
    printed = {
        "tasks": {"stem": figures(micro_avg_of_2=stem)},
        "groups": {"mmlu": figures(micro_avg_of_2=micro, macro_avg_of_2=macro)},
    }
    (made.native_dir / "vendor_output.json").write_text(json.dumps(printed), encoding="utf-8")
    return made


def test_every_answer_is_a_sample_of_its_question_and_repeat(tmp_path: Path) -> None:
    outcome = results.parse(left_behind(tmp_path, RECORDED))
    found = {(sample.id, sample.repeat): (sample.correct, sample.target) for sample in outcome.samples}
    assert found == {
        (item, repeat): answer
        for repeat in (0, 1)
        for item, answer in {
            "0": (True, "B"),
            "1": (False, "C"),
            "2": (True, "D"),
            "3": (False, "B"),
        }.items()
    }
    assert outcome.samples[0].extracted_answer == "B"
    assert outcome.samples[0].response == "Answer: B"


def test_the_standard_error_is_over_questions_and_not_the_wheel_s(tmp_path: Path) -> None:
    """The wheel groups repeats in the order in which answers arrived; here it printed 0."""
    proof = prove(results.parse(left_behind(tmp_path, RECORDED)), 8)
    assert proof.status == "complete"
    metric = proof.tasks["mmlu"]["accuracy"]
    assert (metric.value, metric.n) == (0.5, 4)
    assert metric.stderr == pytest.approx((1 / 12) ** 0.5)
    assert proof.tasks["stem"]["accuracy"].value == 0.5
    assert proof.groups["mmlu"]["accuracy_macro"].value == 0.5


def test_a_long_answer_is_read_from_the_file_beside_the_store(tmp_path: Path) -> None:
    answers = json.loads(json.dumps(RECORDED))
    answers["3"]["convo"][-1]["content"] = "x" * 40_000
    outcome = results.parse(left_behind(tmp_path, answers))
    assert max(len(sample.response or "") for sample in outcome.samples) == 40_000


def test_a_file_outside_the_store_is_refused(tmp_path: Path) -> None:
    made = left_behind(tmp_path, RECORDED)
    (store,) = made.native_dir.rglob("cache.db")
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE Cache SET value = NULL, filename = '../../../../secret' WHERE key = '0'")
    (tmp_path / "native" / "secret").write_text("{}", encoding="utf-8")
    with pytest.raises(HarnessError, match="outside the store"):
        results.parse(made)


def test_an_answer_that_is_not_in_the_store_is_missing(tmp_path: Path) -> None:
    kept = {key: answer for key, answer in RECORDED.items() if key != "5"}
    proof = prove(results.parse(left_behind(tmp_path, kept)), 8)
    assert (proof.status, proof.completeness.scored) == ("incomplete", 7)


@pytest.mark.parametrize("wrong", [{"micro": 0.625}, {"stem": 0.25}])
def test_figures_that_the_answers_do_not_carry_are_refused(tmp_path: Path, wrong: dict[str, float]) -> None:
    outcome = results.parse(left_behind(tmp_path, RECORDED, **wrong))
    with pytest.raises(HarnessError, match="its own samples give"):
        prove(outcome, 8)


def test_a_macro_average_that_the_answers_do_not_carry_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="macro"):
        results.parse(left_behind(tmp_path, RECORDED, macro=0.6))


def test_a_limit_is_told_to_be_the_head_of_the_set(tmp_path: Path) -> None:
    (note,) = results.parse(left_behind(tmp_path, RECORDED)).notes
    assert "first subjects" in note


def test_no_store_is_a_fault_of_the_harness(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no answers"):
        results.parse(job(tmp_path))
    made = left_behind(tmp_path, RECORDED)
    next(made.native_dir.rglob("cache.db")).write_bytes(b"torn")
    with pytest.raises(HarnessError, match="no answers"):
        results.parse(made)


def code_job(folder: Path, asked: list[str], scored: list[tuple[str, float]]) -> Job:
    """Write what both starts of humaneval left: answers alone, and answers with their verdicts."""
    made = job(folder, task="humaneval", repeats=1)
    for native, answers in (
        (made.native_dir, [(answer, 0.0) for answer in asked]),
        (made.native_dir / "score", scored),
    ):
        store = native / "output" / "humaneval" / "cache" / "cache.sqlite"
        store.mkdir(parents=True)
        with sqlite3.connect(store / "cache.db") as connection:
            connection.execute("CREATE TABLE Cache (key BLOB, filename TEXT, value BLOB)")
            for number, (answer, score) in enumerate(answers):
                record = {
                    "score": score,
                    "metrics": {"pass@1": score},
                    "convo": [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}],
                    "html": "<p>Correct Answer: [1]</p> <p>Extracted Answer: [0]</p>",
                }
                row = (str(number), None, json.dumps(record))
                connection.execute("INSERT INTO Cache VALUES (?, ?, ?)", row)
    made.logs_dir.mkdir()
    (made.logs_dir / "generate.log").write_text(LOG.format(len(asked)), encoding="utf-8")
    printed = {
        "tasks": {"pass@1": {"metrics": {"score": {"scores": {"micro": {"value": 0.5, "stats": {}}}}}}},
        "groups": {"humaneval": {"metrics": {"score": {"scores": {"micro": {"value": 0.5, "stats": {}}}}}}},
    }
    (made.native_dir / "score" / "vendor_output.json").write_text(json.dumps(printed), encoding="utf-8")
    return made


def test_verdicts_on_code_are_those_of_the_sandbox(tmp_path: Path) -> None:
    proof = prove(results.parse(code_job(tmp_path, ["a", "b"], [("a", 1.0), ("b", 0.0)])), 2)
    assert proof.status == "complete"
    assert {name: found.value for name, found in proof.tasks["humaneval"].items()} == {"pass@1": 0.5}


@pytest.mark.parametrize("scored", [[("a", 1.0), ("c", 0.0)], [("a", 1.0)]])
def test_verdicts_on_other_answers_than_were_given_are_refused(
    tmp_path: Path, scored: list[tuple[str, float]]
) -> None:
    with pytest.raises(HarnessError, match="not those that were generated"):
        results.parse(code_job(tmp_path, ["a", "b"], scored))


def test_verdicts_that_do_not_carry_the_figure_are_refused(tmp_path: Path) -> None:
    outcome = results.parse(code_job(tmp_path, ["a", "b"], [("a", 1.0), ("b", 1.0)]))
    with pytest.raises(HarnessError, match="its own samples give"):
        prove(outcome, 2)


def check_correctness(*_: object) -> dict[str, Any]:
    return {"passed": True}


def judge(sample: dict[str, Any]) -> dict[str, Any]:
    return check_correctness(sample)


def wheel_modules() -> tuple[Any, Any]:
    """Return stand-ins for the wheel's modules that ask and that run code."""
    shared = {"check_correctness": check_correctness}
    evaluation = SimpleNamespace(evaluate_functional_correctness=judge, **shared)
    return evaluation, SimpleNamespace(unsafe_execute=lambda *_: None, **shared)


def test_the_first_start_finds_every_answer_wrong_and_can_run_none() -> None:
    evaluation, execution = wheel_modules()
    ask_only.put_out_execution(evaluation, execution)
    verdict = evaluation.check_correctness({"task_id": "HumanEval/0"}, "code", 1.0, 0)
    assert (verdict["task_id"], verdict["passed"]) == ("HumanEval/0", False)
    for name in ("unsafe_execute", "exec"):
        with pytest.raises(RuntimeError, match="outside the sandbox"):
            getattr(execution, name)("code", {})


@pytest.mark.parametrize("missing", ["evaluate_functional_correctness", "check_correctness"])
def test_a_wheel_that_runs_code_in_another_way_is_not_started(missing: str) -> None:
    evaluation, execution = wheel_modules()
    if missing == "check_correctness":
        evaluation.check_correctness = lambda *_: {}  # not the one that is put out
    else:
        del evaluation.evaluate_functional_correctness
    with pytest.raises(SystemExit, match="another way"):
        ask_only.put_out_execution(evaluation, execution)


def test_a_wheel_without_its_unsafe_execute_is_not_started() -> None:
    evaluation, execution = wheel_modules()
    del execution.unsafe_execute
    with pytest.raises(SystemExit, match="unsafe_execute"):
        ask_only.put_out_execution(evaluation, execution)
