"""What a person sees of a task in progress."""

import os
import types
from pathlib import Path

import pytest

from evaldock.cli import show
from evaldock.cli.show import PlainEvents, progress_of
from evaldock.executors.adapter import Counts

EVALUATION = types.SimpleNamespace(folder="lm-eval.gsm8k")
COUNTS = Counts(requests=9, answered=7, failed=1, retried=2)


def told(folder: Path, text: str) -> None:
    (folder / "progress.json").write_text(text, encoding="utf-8")


def shown(
    folder: Path, counts: Counts | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    monkeypatch.setattr(show, "_PLAIN_PERIOD_S", 0.0)
    PlainEvents(3).progress(EVALUATION, folder, counts)  # type: ignore[arg-type]
    return capsys.readouterr().err


def test_the_harnesss_own_count_goes_before_the_adapters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told(tmp_path, '{"phase": "ask", "done": 3, "total": 20}')
    line = shown(tmp_path, COUNTS, capsys, monkeypatch)
    assert line == "evaldock: task 1 of 3, lm-eval.gsm8k ask: 3 of 20, 0.0/s, 2 retried, 1 failed\n"


def test_a_harness_that_says_nothing_is_followed_by_its_requests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = shown(tmp_path, Counts(requests=9, answered=7), capsys, monkeypatch)
    assert line == "evaldock: task 1 of 3, lm-eval.gsm8k requests: 7 answered, 0.0/s\n"
    assert shown(tmp_path, Counts(), capsys, monkeypatch) == ""
    assert shown(tmp_path, None, capsys, monkeypatch) == ""


@pytest.mark.parametrize("text", ["", "[]", '{"phase": "ask"}', '{"phase": 1, "done": [], "total": null}'])
def test_what_a_harness_says_wrongly_is_not_shown(tmp_path: Path, text: str) -> None:
    told(tmp_path, text)
    assert progress_of(tmp_path, None) is None
    assert progress_of(tmp_path, COUNTS) is not None


def test_a_pipe_in_the_place_of_progress_blocks_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "progress.json")
    assert progress_of(tmp_path, None) is None
