"""Faults where run_eval stands alone: the adapter is its child, and nothing needs a container."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.kit.fault_runs import asked, sabotage
from tests.kit.toy import FOLDER

from evaldock.testkit.fake_endpoint import RunningEndpoint

pytestmark = pytest.mark.slow

CODE = "from evaldock_entrypoints.run_eval.cli import main; main()"
CANARY = "sk-canary-0123456789"
SLOW = {"action": "latency", "latency_ms": 100}


def run_eval(
    endpoint: RunningEndpoint, tmp_path: Path, mode: str, *more: str, under: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run the toy in this mode, with a folder of its own for temporary files."""
    temporary = tmp_path / "tmp"
    temporary.mkdir(exist_ok=True)
    argv = [*(sys.executable, "-c", CODE, "--eval_type", "sums", "--model_id", "fake-model")]
    argv += ["--model_url", f"{endpoint.url}/v1", "--output_dir", str(tmp_path / "out")]
    argv += ["--overrides", f"params.extra.mode={mode}", *more]
    env = {"EVALDOCK_HARNESS_DIR": str(FOLDER), "EVALDOCK_DATA_DIR": str(FOLDER / "data")}
    env |= {"TMPDIR": str(temporary), "TOY_SECRET": CANARY}
    return subprocess.run(
        [*under, *argv], env=os.environ | env, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """Fail a test that leaves a temporary folder, or an adapter."""
    yield
    temporary = tmp_path / "tmp"
    assert not temporary.exists() or list(temporary.iterdir()) == []
    assert adapters_of(tmp_path) == []


def adapters_of(folder: Path) -> list[int]:
    """Return the processes of adapters whose settings lie below the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            argv = (process / "cmdline").read_bytes()
        except OSError:
            continue  # it has just ended
        if b"adapter.cli" in argv and f"--settings\0{folder}/".encode() in argv:
            found.append(int(process.name))
    return found


def test_f6_alone_a_killed_adapter_ends_the_run_at_once_and_the_next_start_goes_on(
    tmp_path: Path, faulty: RunningEndpoint
) -> None:
    def kill() -> None:
        for number in adapters_of(tmp_path):
            os.kill(number, signal.SIGKILL)

    faulty.reset(faults=[SLOW])
    with sabotage(faulty, after=8, act=kill) as times:
        ended = run_eval(faulty, tmp_path, "honest")
    assert time.monotonic() - times[0] <= 5
    assert ended.returncode == 7, ended.stderr
    assert "the adapter ended by itself" in ended.stderr
    before = asked(faulty)
    faulty.reset(faults=[])
    assert run_eval(faulty, tmp_path, "honest").returncode == 0
    assert len(asked(faulty).keys() & before) <= 11


@pytest.mark.parametrize("mode", ["honest", "tolerant"])
def test_f15_alone_a_refused_key_stops_the_run_and_its_variable_is_named(
    tmp_path: Path, faulty: RunningEndpoint, mode: str
) -> None:
    faulty.reset(faults=[{"match": {"item": "5"}, "action": "status", "status": 401}])
    began = time.monotonic()
    ended = run_eval(faulty, tmp_path, mode, "--api_key_name", "TOY_SECRET")
    assert time.monotonic() - began <= 8
    assert ended.returncode == 3, ended.stderr
    assert "TOY_SECRET" in ended.stderr
    assert CANARY not in ended.stderr + ended.stdout
    assert asked(faulty) == {str(item): 1 for item in range(6)}


def test_f11_alone_with_64_descriptors_a_run_is_slower_and_whole(
    tmp_path: Path, faulty: RunningEndpoint
) -> None:
    ended = run_eval(faulty, tmp_path, "parallel", under=["prlimit", "--nofile=64:64"])
    assert ended.returncode == 0, ended.stderr
    assert set(asked(faulty).values()) == {1}


def test_f24_alone_another_model_is_refused_and_both_names_are_said(
    tmp_path: Path, faulty: RunningEndpoint
) -> None:
    faulty.reset(faults=[{"action": "forged_model", "model": "other-model-7b"}])
    ended = run_eval(faulty, tmp_path, "honest")
    assert ended.returncode == 3, ended.stderr
    assert "other-model-7b" in ended.stderr
    assert "fake-model" in ended.stderr
    assert asked(faulty) == {}
