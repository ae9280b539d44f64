"""Build steps and their log."""

import sys
from pathlib import Path

import pytest

from evaldock.supply.steps import Steps
from evaldock_entrypoints.contract.errors import ExecutionError


def test_failure_shows_the_last_lines_and_the_log(tmp_path: Path) -> None:
    steps = Steps(log_path=tmp_path / "logs" / "build.log", report=lambda _: None)
    program = "import sys; [print('line', n) for n in range(99)]; sys.exit(3)"

    with pytest.raises(ExecutionError) as caught:
        steps.run([sys.executable, "-c", program])

    assert "status 3" in caught.value.message
    assert "line 98" in caught.value.message
    assert "line 1\n" not in caught.value.message
    assert caught.value.where == str(tmp_path / "logs" / "build.log")
    assert "line 1\n" in steps.log_path.read_text(encoding="utf-8")


def test_each_step_is_one_line_with_its_duration(tmp_path: Path) -> None:
    lines: list[str] = []
    steps = Steps(log_path=tmp_path / "build.log", report=lines.append)

    with steps.step("image base"):
        pass
    with pytest.raises(ValueError, match="x"), steps.step("image other"):
        raise ValueError("x")

    assert lines[0].startswith("image base: ")
    assert lines[1].startswith("image other: failed after ")


def test_program_that_is_not_there(tmp_path: Path) -> None:
    steps = Steps(log_path=tmp_path / "build.log", report=lambda _: None)

    with pytest.raises(ExecutionError, match="did not run"):
        steps.run([str(tmp_path / "no-such-program")])
