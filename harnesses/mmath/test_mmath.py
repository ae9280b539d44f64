"""Quick tests of the mmath folder on recorded answers: five of six problems were asked."""

import importlib.util
import json
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
RECORDED: list[dict[str, Any]] = json.loads((HERE / "fixtures" / "en.json").read_text(encoding="utf-8"))


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"mmath_harness_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


results = _load("results")


def job(folder: Path, task_name: str = "mmath_en", limit: int | None = 5) -> Job:
    framework = load_framework(HERE)
    task = framework.task(task_name)
    assert task is not None
    return Job(
        framework=framework,
        task=task,
        params={"limit_samples": limit, "repeats": 1},
        extras={},
        endpoint=endpoint_at("http://h/v1", model_id="org/m", endpoint_type="chat", api_key_name=None),
        output_dir=folder,
        data_dir=folder,
        harness_dir=HERE,
        manifest=[{"dataset": "mmath", "config": "en", "split": "test", "records": 374}],
    )


def figure(value: float) -> dict[str, Any]:
    return {"metrics": {"accuracy": {"scores": {"accuracy": {"value": value, "stats": {}}}}}}


def left_behind(
    folder: Path, problems: list[dict[str, Any]], whole: float = 5 / 6, part: float = 2 / 3
) -> Job:
    """Write what the wheel left, with these figures of its own."""
    made = job(folder)
    answers = made.native_dir / "output" / "org" / "m"
    answers.mkdir(parents=True)
    (answers / "en.json").write_text(json.dumps(problems), encoding="utf-8")
    printed = {
        "tasks": {"AIME2024": figure(part), "AIME2025": figure(1.0)},
        "groups": {"MMATH": figure(whole)},
    }
    (made.native_dir / "vendor_output.json").write_text(json.dumps(printed), encoding="utf-8")
    return made


def test_every_answered_problem_is_a_sample(tmp_path: Path) -> None:
    outcome = results.parse(left_behind(tmp_path, RECORDED))
    found = [
        (sample.id, sample.extracted_answer, sample.target, sample.correct) for sample in outcome.samples
    ]
    assert found == [
        ("AIME2024/0", "-12345", "204", False),
        ("AIME2024/1", "113", "113", True),
        ("AIME2024/2", "371", "371", True),
        ("AIME2025/30", "70", "70", True),
        ("AIME2025/31", "588", "588", True),
    ]


def test_the_mean_over_problems_is_the_score_and_the_mean_of_means_the_wheel_s(tmp_path: Path) -> None:
    proof = prove(results.parse(left_behind(tmp_path, RECORDED)), 5)
    assert proof.status == "complete"
    assert proof.tasks["mmath_en"]["accuracy"].value == 0.8
    assert proof.tasks["AIME2024"]["accuracy"].value == pytest.approx(2 / 3)
    assert proof.groups["MMATH"]["mean_of_sources"].value == pytest.approx(5 / 6)


def test_a_problem_without_an_answer_is_missing(tmp_path: Path) -> None:
    torn = [dict(problem) for problem in RECORDED]
    del torn[3]["prediction_30"]
    proof = prove(results.parse(left_behind(tmp_path, torn)), 5)
    assert (proof.status, proof.completeness.scored) == ("incomplete", 4)


def test_figures_that_the_answers_do_not_carry_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="MMATH"):
        results.parse(left_behind(tmp_path / "a", RECORDED, whole=0.8))
    outcome = results.parse(left_behind(tmp_path / "b", RECORDED, part=0.7))
    with pytest.raises(HarnessError, match="AIME2024"):
        prove(outcome, 5)


def test_a_limit_is_told_to_be_the_head_of_the_set(tmp_path: Path) -> None:
    (note,) = results.parse(left_behind(tmp_path, RECORDED)).notes
    assert "head of the set" in note


@pytest.mark.parametrize("content", [None, "[{", '[{"gid": 0, "prediction_0": "x"}]'])
def test_no_answers_or_torn_ones_are_a_fault_of_the_harness(tmp_path: Path, content: str | None) -> None:
    made = job(tmp_path)
    if content is not None:
        path = made.native_dir / "output" / "org" / "m" / "en.json"
        path.parent.mkdir(parents=True)
        path.write_text(content, encoding="utf-8")
    with pytest.raises(HarnessError, match="no answers"):
        results.parse(made)


def test_every_language_is_asked_in_that_language() -> None:
    framework = load_framework(HERE)
    assert framework.vendor is not None
    asked = framework.vendor.values["config.params.extra.language"]
    assert {task.name: task.data[0].config for task in framework.tasks} == {
        name: language for name, language in asked.items() if name != "$by"
    }
    assert len(framework.tasks) == 10
