"""Read bfcl's result and score files into samples and claims."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

from evaldock_entrypoints.contract import statistics
from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.results import MetricClaim, Outcome, Sample, SampleError
from evaldock_entrypoints.run_eval.job import Job

Row = dict[str, Any]
Group = tuple[tuple[str, ...], ...]

VERSION = "BFCL_v4"
REFUSED = "not evaluated here: "  # as expressions.py says to a model
INFERENCE_ERROR = "Error during inference: "  # bfcl writes this where an answer should be, and scores it
# A group's accuracy in bfcl's tables: the mean of the parts' means, a part's mean that of its categories'.
UNWEIGHTED: dict[str, Group] = {
    "non_live": (
        ("simple_python", "simple_java", "simple_javascript"),
        ("multiple",),
        ("parallel",),
        ("parallel_multiple",),
    ),
    "multi_turn": (
        ("multi_turn_base",),
        ("multi_turn_miss_func",),
        ("multi_turn_miss_param",),
        ("multi_turn_long_context",),
    ),
}
# There the mean over all cases of these categories.
WEIGHTED = {"live": ("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple")}


@dataclass(frozen=True, kw_only=True)
class Category:
    """What was asked of one category, and what bfcl wrote of it."""

    name: str
    group: str | None  # bfcl's name of the group that the task is; None where it is this category alone
    ids: tuple[str, ...]
    total: int
    results: dict[str, Row]
    failures: dict[str, Row]
    targets: dict[str, str]
    accuracy: float

    @property
    def prefix(self) -> str:
        """How the ids of its samples begin: those of bfcl's overall accuracy apart from the others."""
        if self.group is None:
            return ""
        return f"{'overall' if self.name in _in_overall(self.group) else 'apart'}/{self.name}/"


def parse(job: Job) -> Outcome:
    """Return one sample per case; raises HarnessError where bfcl's files are missing or contradict it."""
    native = job.native_dir
    selection = _read_json(native / "selection.json")
    finished = _read_json(native / "score" / "score.json")
    group = job.task.native_name if job.task.native_name not in selection["categories"] else None
    categories = [
        _category(job, selection["mode"], name, group, told) for name, told in selection["categories"].items()
    ]
    samples = {category.name: list(_samples(category)) for category in categories}
    return Outcome(
        samples=[sample for found in samples.values() for sample in found],
        claims=[*_claims(job, categories), *_overall(job, group, samples)],
        totals=[category.total for category in categories],
        harness_version=finished["version"],
        num_fewshot=0,
        notes=[*selection["notes"], *_refusal_notes(categories)],
        facts={"mode": selection["mode"]},
    )


def _category(job: Job, mode: str, name: str, group: str | None, told: Row) -> Category:
    file = f"{told['folder']}/{VERSION}_{name}"
    root = f"endpoint-{mode}"
    score_file = job.native_dir / "score" / root / f"{file}_score.json"
    results = _by_id(job.native_dir / "result" / root / f"{file}_result.json")
    header, *failures = _read_lines(score_file)
    category = Category(
        name=name,
        group=group,
        ids=tuple(told["ids"]),
        total=told["total"],
        results=results,
        failures={row["id"]: row for row in failures},
        targets=_targets(job.data_dir / VERSION / "possible_answer" / f"{VERSION}_{name}.json"),
        accuracy=header["accuracy"],
    )
    _refuse_other_answers(category, header, score_file)
    return category


def _refuse_other_answers(category: Category, header: Row, score_file: Path) -> None:
    """Refuse scores that are not of exactly these answers; a correct one stands in no score file."""
    results, failures = set(category.results), set(category.failures)
    wrong = None
    if results - set(category.ids):
        wrong = f"answers to cases that were not chosen, such as {min(results - set(category.ids))}"
    elif failures - results:
        wrong = f"failures without an answer, such as {min(failures - results)}"
    elif (header["total_count"], header["correct_count"]) != (len(results), len(results - failures)):
        wrong = f"{header['correct_count']} of {header['total_count']} correct, but {len(results)} answers"
        wrong += f" and {len(failures)} failures"
    if wrong:
        raise HarnessError(
            f"bfcl's files of {category.name} contradict each other: {wrong}",
            where=str(score_file),
            next_step="run the same command again: it scores anew",
        )


def _samples(category: Category) -> Iterator[Sample]:
    """Yield a sample for every case that bfcl has an answer of; one that is missing shows in the proof."""
    for case in category.ids:
        if case in category.results:
            yield _sample(category, category.results[case], category.failures.get(case))


def _sample(category: Category, row: Row, failure: Row | None) -> Sample:
    identity = category.prefix + row["id"]
    if "traceback" in row:  # what a model says cannot put this beside its answer
        message = str(row["result"]).removeprefix(INFERENCE_ERROR)
        return Sample(id=identity, error=SampleError(kind="endpoint", message=message))
    mine, decoded = row["evaldock"], (failure or {}).get("model_result_decoded")
    score = float(failure is None)
    overall = {"overall": score} if category.name in WEIGHTED.get(category.group or "", ()) else {}
    return Sample(
        id=identity,
        prompt_hash=mine["prompt_hash"],
        response=_text(row["result"]),
        extracted_answer=None if decoded is None else _text(decoded),
        target=category.targets.get(row["id"]),
        scores={"acc": score, **overall},
        correct=failure is None,
        finish_reason="length" if "length" in mine["finish_reasons"] else mine["finish_reasons"][-1],
        prompt_tokens=int(_total(row["input_token_count"])),
        completion_tokens=int(_total(row["output_token_count"])),
        latency_ms=_total(row["latency"]) * 1000,
    )


def _claims(job: Job, categories: Sequence[Category]) -> Iterator[MetricClaim]:
    """Yield the accuracy that bfcl printed of each category."""
    prefix, _, suffix = job.task.name.partition(job.task.native_name)
    for category in categories:
        yield MetricClaim(
            task=f"{prefix}{category.name}{suffix}",
            name="acc",
            value=category.accuracy,
            score="acc",
            within=category.prefix or None,
        )


def _overall(job: Job, group: str | None, samples: Mapping[str, Sequence[Sample]]) -> Iterator[MetricClaim]:
    """Yield the group's accuracy by bfcl's rule, computed from the samples alone."""
    if group in WEIGHTED:
        yield MetricClaim(task=job.task.name, name="acc", value=None, score="overall", group=True)
    if group not in UNWEIGHTED:
        return
    scores = {
        name: [sample.scores["acc"] for sample in found if sample.error is None]
        for name, found in samples.items()
    }
    if all(scores[name] for name in _in_overall(group)):
        value, stderr = _unweighted(UNWEIGHTED[group], scores)
        yield MetricClaim(
            task=job.task.name,
            name="acc",
            value=value,
            stderr=stderr,
            within="overall/",
            method="harness",
            group=True,
        )


def _unweighted(parts: Group, scores: Mapping[str, Sequence[float]]) -> tuple[float, float | None]:
    """Return the mean of the parts' means and its standard error, the categories being independent."""
    value, variance = 0.0, 0.0
    errors: list[float | None] = []
    for part in parts:
        for name in part:
            weight = 1 / len(parts) / len(part)
            error = statistics.standard_error(scores[name])
            errors.append(error)
            value += weight * statistics.mean(scores[name])
            variance += (weight * (error or 0.0)) ** 2
    return value, None if None in errors else sqrt(variance)


def _in_overall(group: str) -> tuple[str, ...]:
    """Return the categories that bfcl counts in a group's accuracy: not those of (ir)relevance."""
    return WEIGHTED.get(group) or tuple(name for part in UNWEIGHTED[group] for name in part)


def _refusal_notes(categories: Sequence[Category]) -> Iterator[str]:
    refused = sum(
        REFUSED in json.dumps(row.get("inference_log"))
        for category in categories
        for row in category.results.values()
    )
    if refused:
        yield f"in {refused} conversations an expression of the model was refused that bfcl would have run"


def _targets(path: Path) -> dict[str, str]:
    """Return the possible answers by case; of relevance and irrelevance there are none."""
    if not path.is_file():
        return {}
    return {row["id"]: json.dumps(row["ground_truth"]) for row in _read_lines(path)}


def _text(value: Any) -> str:
    """Return an answer as text: what was said, or the calls; empty where there was neither."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _total(value: Any) -> float:
    """Return the sum of a number, or of the numbers of all steps of all turns."""
    return sum(map(_total, value)) if isinstance(value, list) else value


def _by_id(path: Path) -> dict[str, Row]:
    rows = _read_lines(path)
    found = {row["id"]: row for row in rows}
    if len(found) < len(rows):
        raise _unfinished(path, "a case stands in it twice")
    return found


def _read_json(path: Path) -> Row:
    try:
        value: Row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unfinished(path, error) from error
    return value


def _read_lines(path: Path) -> list[Row]:
    try:
        # Not splitlines(): it would also split at U+2028 inside a JSON string.
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError) as error:
        raise _unfinished(path, error) from error
    if not rows:
        raise _unfinished(path, "it is empty")
    return rows


def _unfinished(path: Path, why: object) -> HarnessError:
    return HarnessError(
        f"bfcl left no finished result: {why}",
        where=str(path),
        next_step="the phases' logs say why; the same command resumes",
    )
