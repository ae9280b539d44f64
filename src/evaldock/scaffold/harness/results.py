"""Read answers.json into one sample per question and one claim."""

import json
import re
from typing import Any

from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.results import MetricClaim, Outcome, Sample, SampleError
from evaldock_entrypoints.run_eval.job import Job

_NUMBER = re.compile(r"-?\d+")


def parse(job: Job) -> Outcome:
    """Return the samples and the accuracy; raises HarnessError where the harness left no whole file."""
    path = job.native_dir / "answers.json"
    try:
        samples = [_sample(row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarnessError(
            f"tiny-harness left no answers that can be read: {error}",
            where=str(path),
            next_step="the log of the phase ask says why",
        ) from error
    claim = MetricClaim(task=job.task.name, name="acc", value=None, score="acc")  # it prints none itself
    return Outcome(samples=samples, claims=[claim], num_fewshot=0, notes=_notes(job))


def _sample(row: dict[str, Any]) -> Sample:
    if "error" in row:
        return Sample(id=row["id"], error=SampleError(kind="endpoint", message=row["error"]))
    numbers = _NUMBER.findall(row["answer"])
    extracted = numbers[-1] if numbers else None
    is_right = extracted == row["target"]
    return Sample(
        id=row["id"],
        response=row["answer"],
        extracted_answer=extracted,
        target=row["target"],
        scores={"acc": float(is_right)},
        correct=is_right,
        finish_reason=row["finish_reason"],
    )


def _notes(job: Job) -> list[str]:
    limit = job.params.get("limit_samples")
    return [] if limit is None else [f"a random choice of items by seed {job.params.get('seed')}"]
