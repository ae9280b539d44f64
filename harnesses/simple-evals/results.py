"""Read simple-evals' store of answers into samples, and hold the wheel's own figures against them."""

import html
import json
import math
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract import statistics
from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.results import MetricClaim, Outcome, Sample
from evaldock_entrypoints.run_eval.job import Job
from evaldock_entrypoints.run_eval.vendor.results import vendor_claims
from evaldock_entrypoints.run_eval.vendor.values import FOLDER, SCORE

_TOLERANCE = 1e-9
_SHOWN = re.compile(r"<p>Correct Answer: (.*?)</p>\s*<p>Extracted Answer: (.*?)</p>", re.DOTALL)
_COUNTED = re.compile(r"\|\s*\d+/(\d+) \[")
_HEADS = {
    "mmlu": "the limit took the head of the set: the first subjects in the order of the alphabet",
    "mgsm": "the limit took the head of the set, which begins with the 250 Bengali problems",
}


def parse(job: Job) -> Outcome:
    """Return one sample per answer; raises HarnessError without any, or with other figures than theirs."""
    items = _asked(job) // int(job.params["repeats"])
    samples = _samples(job, _scored_in(job), items)
    if _scored_in(job) and _answers(samples) != _answers(_samples(job, "", items)):
        raise HarnessError(
            "the scored answers are not those that were generated",
            where=str(job.native_dir / SCORE),
            next_step="run the same command again: it scores anew",
        )
    return Outcome(
        samples=samples,
        claims=list(_claims(job, samples)),
        totals=[items],
        harness_version=job.framework.framework.version,
        num_fewshot=0,
        notes=_notes(job),
    )


def _scored_in(job: Job) -> str:
    """Return the folder below native/ that has the verdicts: another one where code of answers was run."""
    return SCORE if any(phase.executes_model_code for phase in job.phases) else ""


def _samples(job: Job, below: str, items: int) -> list[Sample]:
    """Return the answers of a start in the order of their numbers; raises HarnessError."""
    folder = job.native_dir / below / FOLDER / job.task.native_name / "cache" / "cache.sqlite"
    try:
        return [_sample(number, items, record) for number, record in sorted(_records(folder))]
    except (OSError, sqlite3.Error, ValueError, KeyError, IndexError) as error:
        raise _unreadable(folder, error) from error


def _answers(samples: Sequence[Sample]) -> dict[tuple[str, int], str | None]:
    return {(sample.id, sample.repeat): sample.response for sample in samples}


def _asked(job: Job) -> int:
    """Return how many questions the harness says it has, repeats included."""
    log = job.logs_dir / f"{job.phases[0].name}.log"
    found = _COUNTED.findall(log.read_text(encoding="utf-8", errors="replace")) if log.is_file() else []
    if not found:
        raise _unreadable(log, "it does not say how many questions there are")
    return int(found[-1])


def _records(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the record of every answer; long ones stand in files of their own."""
    with closing(sqlite3.connect(f"file:{folder}/cache.db?mode=ro", uri=True)) as store:
        for key, name, value in store.execute("SELECT key, filename, value FROM Cache"):
            yield int(key), json.loads(value if name is None else _beside(folder, name))


def _beside(folder: Path, name: str) -> bytes:
    """Return the content of a file of the store; raises ValueError for one that lies elsewhere."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"{name} lies outside the store")
    return path.read_bytes()


def _sample(number: int, items: int, record: dict[str, Any]) -> Sample:
    correct, extracted = _SHOWN.findall(record["html"])[-1]
    score = float(record["score"])
    return Sample(
        id=str(number % items),
        repeat=number // items,
        response=record["convo"][-1]["content"],
        extracted_answer=html.unescape(extracted),
        target=html.unescape(correct),
        scores={"accuracy": score, **{name: float(value) for name, value in record["metrics"].items()}},
        correct=score == 1.0,
    )


def _claims(job: Job, samples: Sequence[Sample]) -> Iterator[MetricClaim]:
    """Yield the wheel's figures as means of samples; its macro average is a mean of such means."""
    name, primary = job.task.name, job.task.primary_metric or "accuracy"
    for claim in vendor_claims(job, _scored_in(job)):
        if claim.group and claim.name.startswith("score_micro"):
            yield MetricClaim(task=name, name=primary, value=claim.value, score=primary)
        elif claim.group:
            if len(samples) == _asked(job):
                _check_macro(claim, samples)
            yield MetricClaim(
                task=name, name="accuracy_macro", value=claim.value, method="harness", group=True
            )
        elif claim.task == primary:
            yield MetricClaim(task=name, name=primary, value=claim.value, score=primary)
        elif claim.task != name:
            yield MetricClaim(task=claim.task, name="accuracy", value=claim.value, score=claim.task)


def _check_macro(claim: MetricClaim, samples: Sequence[Sample]) -> None:
    parts: dict[str, list[float]] = {}
    for sample in samples:
        for name, value in sample.scores.items():
            parts.setdefault(name, []).append(value)
    parts.pop("accuracy", None)
    value = statistics.mean([statistics.mean(values) for values in parts.values()]) if parts else math.nan
    if claim.value is None or not abs(value - claim.value) <= _TOLERANCE:
        raise HarnessError(
            f"the wheel reports {claim.value!r} for {claim.name}, and its answers give {value!r}",
            where=claim.task,
            next_step="look into native/ and logs/",
        )


def _notes(job: Job) -> list[str]:
    if job.params["limit_samples"] is None:
        return []
    return [_HEADS.get(job.task.name, "the limit took the head of the set")]


def _unreadable(path: Path, why: object) -> HarnessError:
    return HarnessError(
        f"simple-evals left no answers that can be read: {why}",
        where=str(path),
        next_step="read the log of the phase command",
    )
