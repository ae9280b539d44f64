"""What a harness says of its own progress, believed within bounds."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from evaldock.cli.show import Progress, TerminalEvents, events_for, read_progress
from evaldock.plan import Evaluation


def told(folder: Path, **tree: Any) -> Progress | None:
    text = json.dumps({"phase": "ask", "done": 3, "total": 4} | tree)
    (folder / "progress.json").write_text(text, encoding="utf-8")
    return read_progress(folder)


def test_progress_is_read_as_it_is_told(tmp_path: Path) -> None:
    assert told(tmp_path) == Progress(phase="ask", done=3, total=4)


@pytest.mark.parametrize("count", [float("inf"), float("nan"), "many", None, [], {}, "9" * 5000])
def test_a_count_that_is_none_is_no_progress(tmp_path: Path, count: object) -> None:
    assert told(tmp_path, done=count) is None


@pytest.mark.parametrize("count", [-7, 10**300, 1e300])
def test_a_count_beyond_belief_is_bounded(tmp_path: Path, count: float) -> None:
    found = told(tmp_path, done=count, total=count)
    assert found is not None
    assert 0 <= found.done <= 10**12
    assert len(found.text) < 40


def test_a_phase_is_short_text_without_control_characters(tmp_path: Path) -> None:
    found = told(tmp_path, phase="\x1b[2J[/red]" + "x" * 10**6)
    assert found is not None
    assert len(found.phase) <= 60
    assert "\x1b" not in found.phase


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_shows_a_phase_as_it_is_spelt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    told(tmp_path, phase="[/red]x")
    with events_for(1) as events:
        assert isinstance(events, TerminalEvents)
        events.progress(cast(Evaluation, SimpleNamespace(folder="toy.sums")), tmp_path, None)
    assert "[/red]x" in terminal.getvalue()
