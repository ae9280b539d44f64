"""Which samples a report shows."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard

from evaldock.analysis.samples import select_samples

if TYPE_CHECKING:
    from tests.unit.analysis.conftest import RunFolder


def shown(folder: Path) -> dict[str, tuple[int, int]]:
    return {group.verdict: (len(group.samples), group.total) for group in select_samples(folder).groups}


@pytest.mark.parametrize(
    ("right", "wrong", "failed", "expected"),
    [
        (100, 100, 0, {"wrong": (25, 100), "right": (25, 100)}),
        (3, 100, 0, {"wrong": (47, 100), "right": (3, 3)}),
        (100, 2, 0, {"wrong": (2, 2), "right": (48, 100)}),
        (5, 5, 1, {"errored": (1, 1), "wrong": (5, 5), "right": (5, 5)}),
        (100, 100, 30, {"errored": (10, 30), "wrong": (15, 100), "right": (25, 100)}),
    ],
)
def test_wrong_and_right_ones_share_fifty_places(
    run: "RunFolder", right: int, wrong: int, failed: int, expected: dict[str, tuple[int, int]]
) -> None:
    samples = run.answers(right + wrong, right) + [run.errored(f"e{n}") for n in range(failed)]
    assert shown(run.finish(run.job("arc_easy"), samples)) == expected


def test_answers_without_a_verdict_are_shown_as_scored(run: "RunFolder") -> None:
    folder = run.finish(run.job("arc_easy"), [run.sample(f"{n}", True, correct=None) for n in range(60)])
    assert shown(folder) == {"scored": (50, 60)}


def test_lines_that_hold_no_sample_are_counted(run: "RunFolder") -> None:
    folder = run.finish(run.job("arc_easy"), run.answers(3, 3))
    good = run.sample("x", True).model_dump_json()
    lines = [
        good,
        "{",
        "[]",
        "7",
        '{"id": 1, "scores": {}}',
        good.replace('"acc":1.0', '"acc":null'),
        '"\\ud800"',
    ]
    (folder / "samples.jsonl.zst").write_bytes(zstandard.compress("\n".join(lines).encode()))
    selection = select_samples(folder)
    assert selection.total == 2
    assert selection.problems == ("5 lines of samples.jsonl.zst hold no sample and were left out",)


def test_a_damaged_or_linked_file_is_a_problem(run: "RunFolder", tmp_path: Path) -> None:
    path = run.job("arc_easy").output_dir / "samples.jsonl.zst"
    path.write_bytes(b"not zstd at all")
    assert "damaged" in select_samples(path.parent).problems[0]
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert "link" in select_samples(path.parent).problems[0]


def test_a_task_without_samples_has_none() -> None:
    assert select_samples(Path("/nonexistent")).total == 0
