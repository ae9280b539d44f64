import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from evaldock_entrypoints.adapter.redaction import Redaction
from evaldock_entrypoints.run_eval import process
from evaldock_entrypoints.run_eval.process import Child, Finished
from evaldock_entrypoints.run_eval.process_tree import children


def run(
    code: str, tmp_path: Path, *, deadline_s: float = 20, secrets: list[str] | None = None
) -> tuple[Finished, list[str]]:
    lines: list[str] = []
    child = Child(
        [sys.executable, "-c", code],
        env=dict(os.environ),
        cwd=tmp_path,
        log=tmp_path / "log",
        redact=Redaction(secrets or []),
        on_line=lines.append,
    )
    with child:
        return child.wait(deadline_s, threading.Event()), lines


def test_output_is_logged_and_the_code_returned(tmp_path: Path) -> None:
    finished, lines = run("print('one'); print('two'); raise SystemExit(3)", tmp_path)
    assert finished.returncode == 3
    assert lines == ["one", "two"]
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_progress_bars_reach_the_reader_and_not_the_log(tmp_path: Path) -> None:
    _, lines = run("print('1/3', end='\\r'); print('2/3', end='\\r'); print('done')", tmp_path)
    assert lines == ["1/3", "2/3", "done"]
    assert (tmp_path / "log").read_text() == "done\n"


def test_secrets_and_bearer_tokens_never_reach_the_log(tmp_path: Path) -> None:
    secret = "sk-canary-0123456789"
    code = f"print('key {secret}'); print(\"headers: 'Authorization': 'Bearer other-token'\")"
    finished, lines = run(code, tmp_path, secrets=[secret])
    everything = "".join(lines) + (tmp_path / "log").read_text() + "".join(finished.last_lines)
    assert secret not in everything
    assert "other-token" not in everything
    assert "[redacted]" in everything


def test_a_child_that_ignores_term_is_killed_after_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "TERM_GRACE_S", 0.5)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    started = time.monotonic()
    finished, _ = run(code, tmp_path, deadline_s=1.0)
    assert finished.stopped_by == "deadline"
    assert finished.returncode == -9
    assert time.monotonic() - started < 10


def test_grandchildren_do_not_outlive_the_child(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; "
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); print(p.pid)"
    )
    started = time.monotonic()
    _, lines = run(code, tmp_path)
    assert time.monotonic() - started < 10
    while _is_alive(int(lines[0])):
        assert time.monotonic() - started < 10
        time.sleep(0.01)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").split()[2] != "Z"
    except OSError:
        return False


DETACHED = """
import os, pathlib, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        pathlib.Path("detached").write_text(str(os.getpid()))
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        time.sleep(60)
    os._exit(0)
while not (pathlib.Path("detached").is_file() and pathlib.Path("detached").read_text()):
    time.sleep(0.01)
"""


def test_what_has_detached_itself_ends_with_the_child_and_what_was_there_before_does_not(
    tmp_path: Path,
) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as earlier:
        finished, _ = run(DETACHED, tmp_path)
        assert finished.returncode == 0
        assert not Path("/proc", (tmp_path / "detached").read_text()).exists()
        assert earlier.poll() is None
        earlier.kill()


def test_a_child_that_forks_on_and_on_ends(tmp_path: Path) -> None:
    forking = "import os, time\nfor _ in range(200): os.fork() or (os.setsid(), time.sleep(60))\n"
    began, before = time.monotonic(), children()
    run(f"import os\nif os.fork() == 0:\n    {'    '.join(forking.splitlines(keepends=True))}", tmp_path)
    assert children() - before == set()
    assert time.monotonic() - began < 15


def test_output_without_an_end_is_cut_and_the_last_lines_are_short(tmp_path: Path) -> None:
    finished, lines = run("print('x' * 3 * 2**20, flush=True); print('done')", tmp_path)
    assert max(map(len, lines)) <= 2**20 + 2**16
    assert sum(map(len, lines)) == 3 * 2**20 + len("done")
    assert max(map(len, finished.last_lines)) <= 2000


def test_a_line_that_cannot_be_noted_leaves_the_child_running(tmp_path: Path) -> None:
    def refuse(line: str) -> None:
        raise OSError(28, f"no space for {line}")

    child = Child(
        [sys.executable, "-c", "for number in range(100_000): print(number)"],
        env=dict(os.environ),
        cwd=tmp_path,
        log=tmp_path / "log",
        redact=Redaction([]),
        on_line=refuse,
    )
    with child:
        assert child.wait(20, threading.Event()).returncode == 0
