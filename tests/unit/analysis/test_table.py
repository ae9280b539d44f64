"""The Markdown table."""

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaldock.analysis.records import MetricRow, RunRecord, TaskError, TaskRecord
from evaldock.analysis.runs import read_run
from evaldock.analysis.table import markdown_table
from evaldock_entrypoints.contract.results import MetricClaim

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.analysis.conftest import RunFolder


def cells(table: str) -> list[list[str]]:
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_a_score_stands_with_its_error_interval_and_n(run: "RunFolder") -> None:
    run.finish(run.job("arc_easy"), run.answers(100, 56), num_fewshot=0)
    (row,) = cells(markdown_table(read_run(run.path)))
    assert row == [
        *("arc_easy", "lm-eval 0.4.13", "0", "acc", "0.5600", "± 0.0499", "[0.462, 0.653]", "100"),
        "complete",
    ]


def test_a_partial_value_is_not_shown_as_a_score(run: "RunFolder") -> None:
    run.finish(run.job("piqa"), run.answers(28, 14), expected=40)
    table = markdown_table(read_run(run.path))
    (row,) = cells(table)
    assert row[4:] == ["(0.5000)", "-", "-", "28", "incomplete (12 of 40 missing)"]
    assert "12 of 40 samples are missing from the harness's own log" in table
    assert f"evaldock resume {run.path.name}" in table


def test_a_failed_task_shows_the_first_line_of_its_error(run: "RunFolder") -> None:
    run.fail(run.job("hellaswag"))
    (row,) = cells(markdown_table(read_run(run.path)))
    assert row[4] == "-"
    assert row[-1] == "failed: the harness exited with status 1"


def test_the_group_stands_above_its_indented_parts(run: "RunFolder") -> None:
    claims = [
        MetricClaim(task="mmlu_anatomy", name="acc", value=None, score="acc", within="mmlu_anatomy/"),
        MetricClaim(task="mmlu", name="acc", value=None, score="acc", group=True),
    ]
    run.finish(run.job("mmlu"), run.answers(10, 5, prefix="mmlu_anatomy/"), claims=claims)
    assert [row[0] for row in cells(markdown_table(read_run(run.path)))] == ["mmlu", "- mmlu_anatomy"]


def test_groups_of_other_names_than_the_task_stand_side_by_side(run: "RunFolder") -> None:
    claims = [
        MetricClaim(task="stem", name="acc", value=None, score="acc", group=True),
        MetricClaim(task="arts", name="acc", value=None, score="acc", group=True),
        MetricClaim(task="anatomy", name="acc", value=None, score="acc"),
    ]
    run.finish(run.job("mmlu"), run.answers(10, 5), claims=claims)
    assert [row[0] for row in cells(markdown_table(read_run(run.path)))] == ["stem", "arts", "- anatomy"]


def test_what_a_reader_must_know_stands_below(run: "RunFolder") -> None:
    job = run.job("gsm8k", note="a footgun", limit_samples=20, extras={"num_fewshot": 5, "tokenizer": None})
    run.finish(job, run.answers(20, 1, finish_reason="length"), num_fewshot=5)
    table = markdown_table(read_run(run.path))
    assert "20 truncated at the length limit, 0 empty (of 20 answers scored)" in table
    assert "settings: limit_samples 20 (default none), extra.num_fewshot 5\n" in table
    assert "note: a footgun" in table


def test_resuming_names_the_output_folder_where_it_is_not_the_usual_one(run: "RunFolder") -> None:
    run.fail(run.job("piqa"))
    (run.path / "run.yaml").write_text("output: {dir: 'my runs'}\nevaluation: {tasks: [piqa]}\n")
    assert f"evaldock resume {run.path.name} --output-dir 'my runs'" in markdown_table(read_run(run.path))


@given(text=st.text(alphabet=st.characters(exclude_categories=()), min_size=1, max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_no_text_breaks_out_of_its_cell(tmp_path: "Path", text: str) -> None:
    metric = MetricRow(
        task=text, name=text, value=0.5, stderr=None, ci95=None, n=1, method="", group=False, partial=False
    )
    whole = TaskRecord(
        name="h.t", harness="h", task="t", path=tmp_path, status="complete", metrics=(metric,), notes=(text,)
    )
    failed = TaskRecord(
        name="h.u",
        harness="h",
        task="u",
        path=tmp_path,
        status="failed",
        error=TaskError(kind="harness", message=text, where=text, next_step=text),
    )
    table = markdown_table(RunRecord(run_id="r", path=tmp_path, document={}, tasks=(whole, failed)))
    lines = table.splitlines()
    assert len(lines) == 8
    for line in lines[:4]:
        assert line.replace("\\\\", "").replace("\\|", "").count("|") == 10
    assert "\x1b" not in table
    table.encode()
