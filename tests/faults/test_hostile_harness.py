"""Fault F32: a harness that forges results, leads writes elsewhere, and leaves what cannot be read."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.kit.fault_runs import ITEMS, SHARE, Ran, document, run_plan
from tests.kit.toy import toy_plan

from evaldock.analysis.runs import read_run
from evaldock.analysis.table import markdown_table
from evaldock.cli.show import PlainEvents, read_progress
from evaldock.executors.adapter import Counts
from evaldock.plan import Evaluation
from evaldock.testkit.fake_endpoint import RunningEndpoint
from evaldock_entrypoints.contract.errors import ExitCode

pytestmark = [pytest.mark.containers, pytest.mark.usefixtures("engine_host")]


def run(folder: Path, endpoint: RunningEndpoint, mode: str, targets: Any = (), **more: Any) -> Ran:
    return run_plan(toy_plan(folder, endpoint.url, mode, targets=targets, over=document(), **more))


def shown(folder: Path) -> str:
    return markdown_table(read_run(folder / "toy"))


@pytest.mark.parametrize("mode", ["forge", "forger", "folders", "said", "forge+forger+said"])
def test_f32_what_a_harness_forges_beside_its_declared_output_changes_nothing(
    tmp_path: Path, faulty: RunningEndpoint, undisturbed: Ran, mode: str
) -> None:
    ran = run(tmp_path, faulty, f"honest+{mode}")
    assert ran.code is ExitCode.COMPLETE, ran.said
    assert ran.score == (SHARE, ITEMS)
    assert ran.answers() == undisturbed.answers()
    assert ran.metrics["requests"] == ITEMS


@pytest.mark.parametrize(
    ("mode", "code", "message"),
    [
        ("forge+no_result", ExitCode.HARNESS, "wrote no result"),
        ("forger+no_result", ExitCode.HARNESS, "wrote no result"),
        ("said+no_result", ExitCode.HARNESS, "wrote no result"),
        ("folders+no_result", ExitCode.HARNESS, "wrote no result"),
        ("forge+exit1", ExitCode.HARNESS, "exited with status 1"),
        ("forger+assassin", ExitCode.EXECUTION, "killed by SIGKILL"),
        ("pipe", ExitCode.HARNESS, "a pipe or a device"),
        ("device", ExitCode.HARNESS, "a pipe or a device"),
        ("sparse", ExitCode.HARNESS, "cannot be read: MemoryError"),
        ("nested", ExitCode.HARNESS, "cannot be read: RecursionError"),
    ],
)
def test_f32_a_forged_or_unreadable_result_is_no_score_and_the_next_start_is_not_fooled(
    tmp_path: Path, faulty: RunningEndpoint, mode: str, code: ExitCode, message: str
) -> None:
    ran = run(tmp_path, faulty, mode)
    assert ran.code is code, ran.said
    assert message in ran.said
    assert ran.wall_s < 60
    assert ran.results["status"] == "failed"
    assert ran.results["results"]["tasks"] == {}
    assert "1.0000" not in shown(tmp_path)
    again = run(tmp_path, faulty, mode)
    assert (again.code, again.results["status"]) == (code, "failed")


def test_f32_folders_nested_two_thousand_deep_are_left_and_the_score_stands(
    tmp_path: Path, faulty: RunningEndpoint
) -> None:
    ran = run(tmp_path, faulty, "honest+deep")
    subprocess.run(["rm", "-rf", str(ran.folder / "native" / "work")], check=True)  # which pytest cannot
    assert ran.code is ExitCode.COMPLETE, ran.said
    assert ran.score == (SHARE, ITEMS)


@pytest.mark.parametrize(
    "places",
    [
        {"logs/container-toy.sums-ask.log": "victim"},
        {"logs": "folder"},
        {"logs": "nowhere"},
        {"results.yml": "victim", "samples.jsonl.zst": "victim", "metrics.json": "victim"},
        {"results.yml": "nowhere", ".schema": "folder", "state.json": "nowhere", "progress.json": "victim"},
    ],
    ids=["log", "logs", "logs nowhere", "results", "further files"],
)
@pytest.mark.parametrize("mode", ["honest", "no_result", "killed", "assassin"])
def test_f32_a_link_leads_none_of_our_writes_out_of_the_tasks_folder(
    tmp_path: Path, faulty: RunningEndpoint, places: dict[str, str], mode: str
) -> None:
    around = tmp_path / "around"
    (around / "folder").mkdir(parents=True)
    (around / "victim").write_text("untouched", encoding="utf-8")
    targets = {place: str(around / name) for place, name in places.items()}
    ran = run(tmp_path / "out", faulty, f"{mode}+links", targets)
    again = run(tmp_path / "out", faulty, f"{mode}+links", targets)  # as on resuming, over what was left
    for each in (ran, again):
        assert each.code is (ExitCode.COMPLETE if mode == "honest" else each.code)
        assert each.results["status"] == ("complete" if mode == "honest" else "failed"), each.said
    assert (around / "victim").read_text(encoding="utf-8") == "untouched"
    assert list((around / "folder").iterdir()) == []
    assert sorted(path.name for path in around.iterdir()) == ["folder", "victim"]


def test_f32_a_link_in_the_place_of_a_folder_that_the_next_container_gets_is_refused(
    tmp_path: Path, faulty: RunningEndpoint
) -> None:
    around = tmp_path / "around"
    around.mkdir()
    targets = {"native/score": str(around)}
    for _ in range(2):
        ran = run(tmp_path / "out", faulty, "honest+links", targets, answers_are_code=True)
        assert ran.code is ExitCode.HARNESS, ran.said
        assert "in the place of a folder" in ran.said
    assert list(around.iterdir()) == []


def test_f32_a_result_that_an_earlier_container_forged_is_not_taken_for_the_proof(
    tmp_path: Path, faulty: RunningEndpoint
) -> None:
    ran = run(tmp_path, faulty, "honest+forge", answers_are_code=True)
    assert ran.code is ExitCode.COMPLETE, ran.said
    assert ran.score == (0.0, ITEMS)  # no answer is code that sets a result


def test_f32_a_harness_writes_nowhere_but_in_its_tasks_folder(
    tmp_path: Path, faulty: RunningEndpoint, measured: Callable[..., None]
) -> None:
    ran = run(tmp_path, faulty, "honest+outside")
    assert ran.code is ExitCode.COMPLETE, ran.said
    found = json.loads((ran.folder / "native" / "outside.json").read_text(encoding="utf-8"))
    measured(written=found)
    assert set(found) <= {"/dev"}  # as root: a tmpfs of the container's own


def test_f32_progress_beyond_belief_is_shown_short_and_ends_nothing(
    tmp_path: Path, faulty: RunningEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    class Looking(PlainEvents):
        def progress(self, evaluation: Evaluation, folder: Path, counts: Counts | None) -> None:
            self._said_at = 0.0  # always time to say something
            super().progress(evaluation, folder, counts)
            seen.append(read_progress(folder))

    plan = toy_plan(tmp_path, faulty.url, "honest+progress+said", over=document())
    ran = run_plan(plan, Looking(1))  # type: ignore[arg-type]  # it shows events as Silent does
    assert ran.code is ExitCode.COMPLETE, ran.said
    told = [one for one in seen if one is not None]
    assert told
    assert max(len(one.phase) + len(one.text) for one in told) < 200
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert max(map(len, said.splitlines())) < 300
