"""Read mmath's answers into samples, and hold the wheel's own figures against them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from evaldock_entrypoints.contract import statistics
from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.results import MetricClaim, Outcome, Sample
from evaldock_entrypoints.run_eval.job import Job
from evaldock_entrypoints.run_eval.vendor.results import vendor_claims
from evaldock_entrypoints.run_eval.vendor.values import FOLDER

_TOLERANCE = 1e-9


def parse(job: Job) -> Outcome:
    """Return one sample per problem that was answered; raises HarnessError where nothing can be read."""
    language = job.task.data[0].config
    path = job.native_dir / FOLDER / job.endpoint.model_id / f"{language}.json"
    try:
        problems: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        samples = list(_samples(problems))
    except (OSError, ValueError, KeyError) as error:
        raise HarnessError(
            f"mmath left no answers that can be read: {error}",
            where=str(path),
            next_step="read the log of the phase command",
        ) from error
    all_sources = MetricClaim(task=job.task.name, name="accuracy", value=None, score="accuracy")
    is_whole = len(samples) == job.expected_items()
    return Outcome(
        samples=samples,
        claims=[all_sources, *(_claim(claim, samples, whole=is_whole) for claim in vendor_claims(job))],
        harness_version=job.framework.framework.version,
        num_fewshot=0,
        notes=_notes(job),
        facts={"language": language},
    )


def _samples(problems: list[dict[str, Any]]) -> Iterator[Sample]:
    for problem in problems:
        number = problem["gid"]
        if f"prediction_{number}" not in problem:
            continue
        yield Sample(
            id=f"{problem['data_source']}/{number}",
            response=problem[f"prediction_{number}"],
            extracted_answer=problem[f"pred_answer_{number}"],
            target=problem["answer"],
            scores={"accuracy": float(problem[f"correct_{number}"])},
            correct=problem[f"correct_{number}"],
        )


def _claim(claim: MetricClaim, samples: list[Sample], *, whole: bool) -> MetricClaim:
    """Return a source's accuracy as a mean of its samples; that of all sources is a mean of those means."""
    if not claim.group:
        return replace(claim, method="mean", score="accuracy", within=f"{claim.task}/")
    if not whole:
        return replace(claim, name="mean_of_sources")
    value = statistics.mean([statistics.mean(values) for values in _by_source(samples).values()])
    if claim.value is None or abs(value - claim.value) > _TOLERANCE:
        raise HarnessError(
            f"the wheel reports {claim.value!r} for {claim.task}, and its answers give {value!r}",
            next_step="look into native/ and logs/",
        )
    return replace(claim, name="mean_of_sources")


def _by_source(samples: list[Sample]) -> Mapping[str, list[float]]:
    found: dict[str, list[float]] = {}
    for sample in samples:
        found.setdefault(sample.id.partition("/")[0], []).append(sample.scores["accuracy"])
    return found


def _notes(job: Job) -> list[str]:
    limit = job.params["limit_samples"]
    head = "the limit took the head of the set, which begins with the 30 problems of AIME 2024"
    return [] if limit is None else [head]
