"""A key is found wherever it lies, so that finding none means something."""

import subprocess
import sys
from pathlib import Path

import zstandard

from evaldock.conformance.canary import command_lines_with, found_in

CANARY = "canary-0123456789abcdef"


def test_a_key_is_found_in_plain_and_in_compressed_files(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "ask.log").write_text(f"Bearer {CANARY}\n")
    (tmp_path / "samples.jsonl.zst").write_bytes(zstandard.compress(f'{{"key": "{CANARY}"}}'.encode()))
    (tmp_path / "clean.json").write_text("{}")
    assert {Path(path).name for path in found_in(tmp_path, CANARY)} == {"ask.log", "samples.jsonl.zst"}


def test_a_key_on_a_command_line_is_found_while_the_command_runs() -> None:
    argv = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", CANARY]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()  # it runs
        (line,) = command_lines_with(CANARY)
        process.stdin.close()
    assert "sys.stdin.read()" in line
    assert command_lines_with(CANARY) == []
