"""Reading run folders, whole and broken ones."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from evaldock.analysis.runs import find_run, list_runs, read_run
from evaldock_entrypoints.contract.errors import InterruptedRunError, UsageError
from evaldock_entrypoints.contract.results import MetricClaim

if TYPE_CHECKING:
    from tests.unit.analysis.conftest import RunFolder


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / "results.yml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def test_a_complete_task_is_read_with_its_proof(run: "RunFolder") -> None:
    job = run.job("arc_easy", limit_samples=100, extras={"num_fewshot": 5, "tokenizer": None})
    run.finish(job, run.answers(100, 56), num_fewshot=5, notes=["seen"])
    (task,) = read_run(run.path).tasks
    assert (task.name, task.harness, task.task, task.status) == (
        "lm-eval.arc_easy",
        "lm-eval",
        "arc_easy",
        "complete",
    )
    assert task.completeness is not None
    assert task.completeness.scored == 100
    (metric,) = task.metrics
    assert (metric.task, metric.name, metric.value, metric.n) == ("arc_easy", "acc", 0.56, 100)
    assert (metric.partial, metric.group) == (False, False)
    assert metric.ci95 == pytest.approx((0.4623, 0.6532), abs=1e-4)
    assert task.num_fewshot == 5
    assert task.params["limit_samples"] == 100
    assert task.extras == {"num_fewshot": 5, "tokenizer": None}
    assert task.notes == ("seen",)
    assert task.provenance.data[0].dataset == "bench/arc_easy"
    assert task.traffic is not None
    assert task.traffic.completion_tokens == 800


def test_an_incomplete_task_has_partial_metrics_only(run: "RunFolder") -> None:
    run.finish(run.job("piqa"), [*run.answers(28, 14), run.errored("e")], expected=40)
    (task,) = read_run(run.path).tasks
    assert task.status == "incomplete"
    assert [metric.partial for metric in task.metrics] == [True]
    assert "11 of 40 samples are missing" in task.reasons[0]


def test_a_failed_task_keeps_its_error(run: "RunFolder") -> None:
    run.fail(run.job("hellaswag"))
    run.fail(run.job("piqa"), InterruptedRunError("stopped by SIGTERM"))
    failed, interrupted = read_run(run.path).tasks
    assert failed.status == "failed"
    assert failed.error is not None
    assert (failed.error.kind, failed.error.exit_code) == ("harness", 4)
    assert interrupted.status == "interrupted"


def test_groups_are_told_from_tasks(run: "RunFolder") -> None:
    claims = [
        MetricClaim(task="mmlu", name="acc", value=None, score="acc", group=True),
        MetricClaim(task="mmlu_anatomy", name="acc", value=None, score="acc", within="mmlu_anatomy/"),
    ]
    run.finish(run.job("mmlu"), run.answers(10, 5, prefix="mmlu_anatomy/"), claims=claims)
    (task,) = read_run(run.path).tasks
    assert [(metric.task, metric.group) for metric in task.metrics] == [
        ("mmlu", True),
        ("mmlu_anatomy", False),
    ]


def test_tasks_stand_in_the_order_of_the_document(tmp_path: Path, run: "RunFolder") -> None:
    ordered = type(run).create(tmp_path / "other", "r", ["piqa", "lm-eval.gsm8k", "arc_easy"])
    for name in ("arc_easy", "gsm8k", "piqa"):
        ordered.fail(ordered.job(name))
    assert [task.task for task in read_run(ordered.path).tasks] == ["piqa", "gsm8k", "arc_easy"]


def test_a_task_without_results_is_unfinished(run: "RunFolder") -> None:
    run.job("arc_easy")
    assert read_run(run.path).status == "unfinished"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"- a list\n",
        b"{" * 100_000,
        b"a: &a [x]\nb: *nowhere\n",
        b"schema: evaldock/results/v9\nstatus: complete\n",
        b"schema: evaldock/results/v1\nstatus: splendid\n",
        b"schema: evaldock/results/v1\nstatus: complete\n",
        b"schema: evaldock/results/v1\nstatus: failed\nnotes: 7\n",
        b"schema: 2024-99-99\n",
        b"#" * (33 * 1024**2),
    ],
)
def test_a_malformed_results_file_makes_the_task_unreadable(run: "RunFolder", content: bytes) -> None:
    (run.job("arc_easy").output_dir / "results.yml").write_bytes(content)
    (task,) = read_run(run.path).tasks
    assert task.status == "unreadable"
    assert task.problems[0].startswith("results.yml")
    assert task.metrics == ()


def test_a_word_of_complete_against_its_own_counts_is_not_believed(run: "RunFolder") -> None:
    folder = run.finish(run.job("arc_easy"), run.answers(10, 5), expected=12)
    rewrite(folder, status="complete")
    assert read_run(run.path).status == "unreadable"


def test_a_value_that_is_no_number_is_not_believed(run: "RunFolder") -> None:
    folder = run.finish(run.job("arc_easy"), run.answers(10, 5))
    text = (folder / "results.yml").read_text()
    (folder / "results.yml").write_text(text.replace("value: 0.5", "value: .nan"))
    assert read_run(run.path).status == "unreadable"


def test_links_and_pipes_are_not_followed(run: "RunFolder", tmp_path: Path) -> None:
    folder = run.finish(run.job("arc_easy"), run.answers(10, 5))
    (folder / "results.yml").rename(tmp_path / "elsewhere.yml")
    (folder / "results.yml").symlink_to(tmp_path / "elsewhere.yml")
    os.mkfifo(run.job("piqa").output_dir / "results.yml")
    (run.path / "lm-eval.linked").symlink_to(folder)
    tasks = read_run(run.path).tasks
    assert [(task.task, task.status) for task in tasks] == [
        ("arc_easy", "unreadable"),
        ("piqa", "unreadable"),
    ]
    assert "link" in tasks[0].problems[0]


def test_an_unreadable_document_or_metrics_file_is_a_problem_and_no_more(run: "RunFolder") -> None:
    folder = run.finish(run.job("arc_easy"), run.answers(10, 5))
    (run.path / "run.yaml").write_text("{")
    (folder / "metrics.json").write_text("{")
    record = read_run(run.path)
    assert "run.yaml" in record.problems[0]
    assert record.tasks[0].status == "complete"
    assert "metrics.json" in record.tasks[0].problems[0]


def test_runs_are_listed_newest_first(run: "RunFolder") -> None:
    output_dir = run.path.parent
    for age_s, name in ((50, "b-old"), (10, "a-new")):
        other = type(run).create(output_dir, name)
        started = (run.path / "run.yaml").stat().st_mtime - age_s
        os.utime(other.path / "run.yaml", (started, started))
    (output_dir / "link").symlink_to(run.path)
    (output_dir / "not-a-run").mkdir()
    assert [record.run_id for record in list_runs(output_dir)] == [run.path.name, "a-new", "b-old"]
    assert list_runs(output_dir / "absent") == []


def test_a_run_is_found_by_a_unique_beginning_of_its_id(run: "RunFolder") -> None:
    output_dir = run.path.parent
    for name in ("aa-1", "aa-12", "ab-2"):
        type(run).create(output_dir, name)
    assert find_run(output_dir, "ab").run_id == "ab-2"
    assert find_run(output_dir, "aa-1").run_id == "aa-1"
    with pytest.raises(UsageError, match="2 runs begin with") as many:
        find_run(output_dir, "aa")
    assert "aa-12" in str(many.value.next_step)
    with pytest.raises(UsageError, match="no run begins with") as none:
        find_run(output_dir, "../")
    assert "ab-2" in str(none.value.next_step)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        read_run(tmp_path / "nothing")
