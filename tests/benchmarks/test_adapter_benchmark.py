"""The benchmark of the adapter still runs: a short round of every table, without the peers."""

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.adapter import TABLES

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_short_round_measures_every_contender() -> None:
    argv = [sys.executable, "-m", "benchmarks.adapter", "--quick", "--no-peers"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n## ") + 1 == len(TABLES)
    assert "missing" not in done.stdout
    assert "| calls of the endpoint in re-runs | ≤ 0 | 0 | reached |" in done.stdout
