"""Quick tests of the simple-evals folder on a recorded store: four questions, each asked twice."""

import importlib.util
import json
import sqlite3
from pathlib import Path
from types import ModuleType
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


def job(folder: Path, limit: int | None = 4) -> Job:
    framework = load_framework(HERE)
    task = framework.task("mmlu")
    assert task is not None
    return Job(
        framework=framework,
        task=task,
        params={"limit_samples": limit, "repeats": 2},
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
