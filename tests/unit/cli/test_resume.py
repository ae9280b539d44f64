from pathlib import Path

import pytest

from evaldock.analysis.runs import find_run
from evaldock.cli.run import written_for
from evaldock.session import make_plan

DOCUMENT = """\
evaluation: {tasks: [gsm8k]}
target: {api_endpoint: {url: "https://models.example/v1", model_id: m}}
output: {dir: /where/it/was}
"""


def test_a_run_whose_folder_was_moved_goes_on_where_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    run = Path("moved to: here", "20310101T000000Z-abcd")
    run.mkdir(parents=True)
    (run / "run.yaml").write_text(DOCUMENT, encoding="utf-8")
    record = find_run(run.parent, "2031")
    assert make_plan(written_for(record).written, run_id=record.run_id).run_dir == str(tmp_path / run)
