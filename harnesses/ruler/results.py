"""Read RULER's answers and scores into samples and claims."""

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.results import MetricClaim, Outcome, Sample, SampleError
from evaldock_entrypoints.run_eval.job import Job

SAMPLES = 500  # of each sub-task, before any limit
PERCENT = 100
HALF_A_DIGIT = 0.005 + 1e-9  # summary.csv shows two decimals
OF_A_HEAD = ("qa_1", "qa_2")

Row = dict[str, Any]


def parse(job: Job) -> Outcome:
    """Return one sample per (sub-task, index); raises HarnessError where RULER's own figures disagree."""
    native = job.native_dir
    try:
        finished = json.loads((native / "finished.json").read_text(encoding="utf-8"))
        scores = json.loads((native / "pred" / "per_sample_scores.json").read_text(encoding="utf-8"))
        printed = _summary(native / "pred", finished["subtasks"])
        errors = {row["prompt_hash"]: row["message"] for row in _lines(native / "errors.jsonl")}
        samples = [
            sample for name in finished["subtasks"] for sample in _samples(native, name, scores[name], errors)
        ]
    except (OSError, ValueError, LookupError) as error:
        raise HarnessError(
            f"RULER left no finished result: {type(error).__name__}: {error}",
            where=str(native),
            next_step="the phase's log says why; the same command resumes",
        ) from error
    _check_printed(scores, printed, native)
    return Outcome(
        samples=samples,
        claims=list(_claims(job.task.name, finished["subtasks"])),
        totals=[SAMPLES] * len(finished["subtasks"]),
        harness_version=finished["version"],
        num_fewshot=0,
        notes=_notes(finished),
        facts={
            "max_seq_length": job.extras["max_seq_length"],
            "tokenizer": finished["tokenizer"],
            "data_seed": job.extras["data_seed"],
            "subtasks": len(finished["subtasks"]),
            "nulls": sum(sample.response == "" for sample in samples),
        },
    )


def _summary(folder: Path, names: Sequence[str]) -> dict[str, float]:
    """Return RULER's printed score of each sub-task, 0 to 100."""
    path = folder / ("summary.csv" if len(names) > 1 else f"summary-{names[0]}.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = {row[0]: row[1:] for row in csv.reader(file)}
    return dict(zip(rows["Tasks"], map(float, rows["Score"]), strict=True))


def _samples(native: Path, name: str, scores: Sequence[float], errors: Mapping[str, str]) -> Iterator[Sample]:
    """Yield the samples of one sub-task; what RULER neither answered nor failed is left out."""
    answered = _lines(native / "pred" / f"{name}.jsonl")
    scored = {row["index"]: (row["pred"], score) for row, score in zip(answered, scores, strict=True)}
    for row in _lines(native / "data" / name / "validation.jsonl"):
        prompt_hash = hashlib.sha256(row["input"].encode()).hexdigest()
        identity: Row = {"id": f"{name}/{row['index']}", "prompt_hash": prompt_hash}
        if row["index"] in scored:
            response, percent = scored[row["index"]]
            yield Sample(
                **identity,
                response=response or "",
                target=", ".join(row["outputs"]),
                scores={"accuracy": percent / PERCENT},
                correct=percent == PERCENT,
            )
        elif prompt_hash in errors:
            yield Sample(**identity, error=SampleError(kind="endpoint", message=errors[prompt_hash]))


def _check_printed(scores: Mapping[str, Sequence[float]], printed: Mapping[str, float], native: Path) -> None:
    """Compare the rounded scores that RULER printed with those of its samples.

    Of a sub-task without any answer it prints 0.
    """
    for name, percent in printed.items():
        if not scores[name]:
            continue
        mean = sum(scores[name]) / len(scores[name])
        if abs(mean - percent) > HALF_A_DIGIT:
            raise HarnessError(
                f"RULER printed {percent} for {name}, and its samples give {mean}",
                where=str(native / "pred"),
                next_step="look into native/pred; no score is reported that its samples do not carry",
            )


def _claims(task: str, names: Sequence[str]) -> Iterator[MetricClaim]:
    """Yield the group and each sub-task; RULER prints them rounded, so the value is that of the samples."""
    yield MetricClaim(task=task, name="accuracy", value=None, score="accuracy", group=True)
    for name in names:
        yield MetricClaim(task=name, name="accuracy", value=None, score="accuracy", within=f"{name}/")


def _notes(finished: Row) -> list[str]:
    count, notes = finished["samples"], []
    if count < SAMPLES:
        notes.append(f"the first {count} of {SAMPLES} samples of each sub-task")
    of_a_head = [name for name in OF_A_HEAD if name in finished["subtasks"]]
    if of_a_head:
        notes.append(f"{' and '.join(of_a_head)}: the first questions of the source, and no random ones")
    return notes


def _lines(path: Path) -> Iterator[Row]:
    """Yield the records of a JSON lines file, none where there is no file; prompts may be large."""
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            yield from map(json.loads, file)
