"""Read what run.py wrote into the project's samples and claims."""

import hashlib
import json
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.results import MetricClaim, Outcome, Sample, SampleError
from evaldock_entrypoints.run_eval.job import Job

Row = dict[str, Any]


def parse(job: Job) -> Outcome:
    """Return one sample per (question, repeat); raises HarnessError where there is no finished result."""
    summary = _read_json(job.native_dir / "run.json")
    records = _read_lines(job.native_dir / "answers.jsonl")
    return Outcome(
        samples=[_sample(record) for record in records],
        claims=[MetricClaim(task=job.task.name, **metric) for metric in summary["metrics"]],
        totals=_totals(job, summary),
        harness_version=job.framework.framework.version,
        num_fewshot=summary["num_fewshot"],
        notes=summary["notes"],
        facts=summary["files"],
    )


def _totals(job: Job, summary: Row) -> list[int]:
    """Return how many questions there are, counted here: what the harness says is not believed."""
    if job.task.data:
        return []  # the manifest says it
    if job.task.name in ("arithmetic", "reasoning"):
        return [int(job.extras["items"])]
    path = Path(job.extras["file"])
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != summary["files"]["file_sha256"]:
        raise HarnessError(
            "the file of questions has changed since they were asked",
            where=str(path),
            next_step="run the same command again: it asks what is new",
        )
    return [sum(bool(line.strip()) for line in content.decode("utf-8-sig").split("\n"))]


def _sample(record: Row) -> Sample:
    if "error" in record:
        return Sample(**{**record, "error": SampleError(**record["error"])})
    return Sample(**record, correct=record["scores"]["acc"] == 1.0)


def _read_json(path: Path) -> Row:
    try:
        value: Row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unfinished(path, error) from error
    return value


def _read_lines(path: Path) -> list[Row]:
    try:
        return [json.loads(line) for line in path.read_bytes().splitlines()]
    except (OSError, ValueError) as error:
        raise _unfinished(path, error) from error


def _unfinished(path: Path, error: Exception) -> HarnessError:
    return HarnessError(
        f"native left no finished result: {error}",
        where=str(path),
        next_step="the phase's log says why; the same command resumes",
    )
