"""How verdicts are shown, and what single checks make of what they see."""

import json
from pathlib import Path
from typing import Any

import pytest

from evaldock.conformance.run_checks import check_read_only, check_seal, check_user, window_of_one
from evaldock.conformance.subject import has_data
from evaldock.conformance.trial import Ran
from evaldock.conformance.verdict import as_table, as_tree, failed, has_failed, not_applicable, ok
from evaldock.executors.outcome import TaskEnd
from evaldock_entrypoints.contract.errors import ExitCode
from evaldock_entrypoints.contract.framework import DataSource, Task


def ran(folder: Path, results: dict[str, Any], code: ExitCode = ExitCode.COMPLETE) -> Ran:
    return Ran(end=TaskEnd(folder=folder, name="toy.sums", exit_code=code, results=results), command_lines=())


def test_a_table_has_one_line_per_verdict_and_none_of_what_moves_a_cursor() -> None:
    verdicts = [ok("entrypoint", "exit 0"), failed("sigterm", "exit 137\n\x1b[2Jafter 30 s")]
    table = as_table([*verdicts, not_applicable("sealed", "never ran")])
    assert [line.split()[:2] for line in table.splitlines()] == [
        ["entrypoint", "ok"],
        ["sigterm", "failed"],
        ["sealed", "not"],
    ]
    assert "\x1b" not in table
    assert json.loads(json.dumps(as_tree(verdicts)))[0] == {
        "check": "entrypoint",
        "state": "ok",
        "seen": "exit 0",
    }


def test_what_could_not_be_tried_is_no_failure() -> None:
    assert not has_failed([ok("a", ""), not_applicable("b", "")])
    assert has_failed([ok("a", ""), failed("b", "")])


@pytest.mark.parametrize(
    ("user", "state"),
    [
        ("", "failed"),
        ("0", "failed"),
        ("0:0", "failed"),
        ("root", "failed"),
        ("65532:65532", "ok"),
        ("me", "ok"),
    ],
)
def test_an_image_that_names_no_user_runs_as_root(user: str, state: str) -> None:
    assert check_user(user).state == state


@pytest.mark.parametrize(
    ("network", "state"),
    [
        ({"sealed": True, "proof": ["interfaces beside loopback: none"]}, "ok"),
        ({"sealed": True, "proof": []}, "failed"),
        ({"sealed": False, "proof": ["1.1.1.1: there is a route"]}, "failed"),
        ({"sealed": "yes", "proof": ["so I say"]}, "failed"),
        (None, "not applicable"),
    ],
)
def test_a_seal_without_proof_is_none(tmp_path: Path, network: object, state: str) -> None:
    assert check_seal(ran(tmp_path, {"provenance": {"network": network}})).state == state


def test_a_refused_write_to_the_image_is_found_in_the_logs(tmp_path: Path) -> None:
    whole = ran(tmp_path, {"status": "complete"})
    assert check_read_only(whole).state == "ok"
    assert check_read_only(ran(tmp_path, {"status": "failed"}, ExitCode.HARNESS)).state == "not applicable"
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "ask.log").write_text("OSError: [Errno 30] Read-only file system: '/opt/cache'\n")
    assert check_read_only(whole).state == "failed"
    assert "ask.log" in check_read_only(whole).seen


def test_one_question_is_told_from_the_others_by_what_it_alone_holds() -> None:
    asked = [
        json.dumps({"prompt": f"You are asked. What is {number} + {number}? Answer shortly."})
        for number in range(10, 15)
    ]
    window = window_of_one(asked[:-1], asked[-1:])
    assert window is not None
    assert [window in body for body in asked] == [False, False, False, True, False]
    assert window_of_one([]) is None
    assert window_of_one(["{}"], ["{}"]) == "{}"


def task(*sources: tuple[str, str, str]) -> Task:
    data = [
        DataSource(dataset=name, config=config, split=split, license="MIT") for name, config, split in sources
    ]
    return Task(name="t", description="", endpoint_types=["chat"], data=data)


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ([("a", "main", "test")], True),
        ([("a", "*", "test")], True),
        ([], True),
        ([("a", "other", "test")], False),
        ([("a", "main", "train")], False),
        ([("a", "main", "test"), ("b", "main", "test")], False),
    ],
)
def test_a_task_can_be_tried_where_all_its_records_are_in_the_image(
    sources: list[tuple[str, str, str]], found: bool
) -> None:
    entries = [{"dataset": "a", "config": "main", "split": "test"}, "no entry"]
    assert has_data(task(*sources), entries) is found
