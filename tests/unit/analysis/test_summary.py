"""summary.json."""

import json
from typing import TYPE_CHECKING

import pytest

from evaldock.analysis.summary import write_summary

if TYPE_CHECKING:
    from tests.unit.analysis.conftest import RunFolder


def test_the_summary_holds_every_task_and_keeps_partial_figures_apart(run: "RunFolder") -> None:
    run.finish(run.job("arc_easy"), run.answers(100, 56))
    run.finish(run.job("piqa"), run.answers(28, 14), expected=40)
    run.fail(run.job("hellaswag"))
    tree = json.loads(write_summary(run.path).read_bytes(), parse_constant=pytest.fail)
    assert (tree["schema"], tree["run_id"], tree["status"]) == (
        "evaldock/summary/v1",
        run.path.name,
        "failed",
    )
    tasks = {task["task"]: task for task in tree["tasks"]}
    assert tasks["arc_easy"]["metrics"][0]["value"] == 0.56
    assert tasks["arc_easy"]["partial"] == []
    assert tasks["piqa"]["metrics"] == []
    assert tasks["piqa"]["partial"][0]["value"] == 0.5
    assert tasks["piqa"]["completeness"]["expected"] == 40
    assert tasks["hellaswag"]["error"]["exit_code"] == 4


def test_a_link_in_the_summarys_place_is_replaced_and_not_written_through(run: "RunFolder") -> None:
    run.fail(run.job("piqa"))
    outside = run.path.parent / "outside"
    outside.write_text("kept")
    (run.path / "summary.json").symlink_to(outside)
    write_summary(run.path)
    assert outside.read_text() == "kept"
    assert [path.name for path in run.path.iterdir() if path.name.startswith(".")] == []
