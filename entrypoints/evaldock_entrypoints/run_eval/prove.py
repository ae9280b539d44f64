"""No score without proof: from an outcome to completeness, metrics and a status."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaldock_entrypoints.contract import statistics
from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.results import Completeness, Metric, MetricClaim, Outcome, Sample, Status
from evaldock_entrypoints.exchanges.traffic import Failure, SessionTraffic, Traffic

_TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Whether the outcome is whole, and the metrics that it carries (task or group → name → metric)."""

    status: Status
    completeness: Completeness
    reasons: tuple[str, ...]
    tasks: dict[str, dict[str, Metric]]
    groups: dict[str, dict[str, Metric]]


def prove(outcome: Outcome, expected: int, traffic: SessionTraffic | None = None) -> Proof:
    """Count the samples against `expected` and compute every claim again from them.

    traffic: what the adapter saw of the harness's last start; None where it saw nothing at all.
    Raises HarnessError where a whole set of samples does not carry what the harness reports. Where samples
    are missing the harness's own figure is not compared: it may count the missing ones in its own way.
    """
    samples = list(outcome.samples)
    scored = [sample for sample in samples if is_scored(sample)]
    completeness = _completeness(samples, scored, expected, traffic)
    counted = (*_reasons(samples, completeness), *_traffic_reasons(samples, traffic))
    reasons = (*outcome.unproven, *counted)
    metrics = ((claim, _metric(claim, scored, whole=not reasons)) for claim in outcome.claims)
    claims = [(claim, metric) for claim, metric in metrics if metric is not None and claim.repeat is None]
    return Proof(
        status="incomplete" if reasons else "complete",
        completeness=completeness,
        reasons=reasons,
        tasks=_by_task([(claim, metric) for claim, metric in claims if not claim.group]),
        groups=_by_task([(claim, metric) for claim, metric in claims if claim.group]),
    )


def is_scored(sample: Sample) -> bool:
    """Tell whether the sample was answered and scored with finite numbers."""
    return sample.error is None and bool(sample.scores) and all(map(math.isfinite, sample.scores.values()))


def _completeness(
    samples: Sequence[Sample], scored: Sequence[Sample], expected: int, traffic: SessionTraffic | None
) -> Completeness:
    errored = sum(sample.error is not None for sample in samples)
    counts = Completeness(
        expected=expected,
        scored=len({(sample.id, sample.repeat) for sample in scored}),
        errored=max(errored, len(_unanswered(traffic))),
    )
    return counts.model_copy(update=_signals(samples, scored, traffic.target if traffic else None))


def _signals(
    samples: Sequence[Sample], scored: Sequence[Sample], traffic: Traffic | None
) -> dict[str, int | None]:
    """Return what the adapter counted, and what it did not see from the harness's own log."""
    if traffic is None or not traffic.generations:
        reasons = [sample.finish_reason for sample in samples if sample.finish_reason is not None]
        answered = [sample.response for sample in scored if sample.response is not None]
        told = {
            "truncated": reasons.count("length") if reasons else None,
            "empty": sum(not response.strip() for response in answered) if answered else None,
        }
    else:
        told = {"truncated": traffic.truncated, "empty": traffic.empty, "refused": traffic.refused}
    return told if traffic is None else {**told, "cached": traffic.cached, "retried": traffic.retried}


def _traffic_reasons(samples: Sequence[Sample], traffic: SessionTraffic | None) -> list[str]:
    """Return what the harness's own log hides: failed requests that it scored all the same, or none."""
    if traffic is None:
        return []
    failures, errored = _unanswered(traffic), sum(sample.error is not None for sample in samples)
    if len(failures) > errored:
        first = failures[0]
        return [
            f"{len(failures)} requests got no answer, and the harness reports {errored} failed samples, "
            f"such as: {first.error}, status {first.status}: {first.message or 'no message'}"
        ]
    if samples and not traffic.target.requests and not failures:
        return ["the harness scored samples, and it asked the endpoint nothing"]
    return []


def _unanswered(traffic: SessionTraffic | None) -> list[Failure]:
    """Return the requests that got no answer, but for those that a limit of the document refused."""
    return [one for one in traffic.outstanding if one.error != "limit"] if traffic else []


def _reasons(samples: Sequence[Sample], counts: Completeness) -> list[str]:
    reasons = []
    errors = [sample.error for sample in samples if sample.error is not None]
    missing = counts.expected - counts.scored - len(errors)
    if missing > 0:
        reasons.append(f"{missing} of {counts.expected} samples are missing from the harness's own log")
    if errors:
        reasons.append(
            f"{len(errors)} of {counts.expected} samples failed, "
            f"such as: {errors[0].kind}: {errors[0].message}"
        )
    if missing < 0:
        reasons.append(f"there are {-missing} more samples than the {counts.expected} expected")
    unscored = sum(sample.error is None and not is_scored(sample) for sample in samples)
    if unscored:
        reasons.append(f"{unscored} samples carry no finite score")
    doubled = [key for key, n in Counter((s.id, s.repeat) for s in samples).items() if n > 1]
    if doubled:
        reasons.append(f"{len(doubled)} samples stand more than once, such as {doubled[0][0]!r}")
    return reasons


def _metric(claim: MetricClaim, scored: Sequence[Sample], *, whole: bool) -> Metric | None:
    mine = [
        sample
        for sample in scored
        if sample.id.startswith(claim.within or "") and claim.repeat in (None, sample.repeat)
    ]
    match claim.method:
        case "mean":
            items, method = _item_means(claim, mine)
        case "pass@k":
            items = _pass_at_k(claim, mine)
            method = f"pass@{claim.k} (unbiased)"
        case "harness":
            return _harness_metric(claim, len(mine))
    values = list(items.values())
    if whole:
        _check(claim, values)
    if not values:
        return None
    return _own_metric(values, method, _pooled(items) if claim.pooled else statistics.standard_error(values))


def _item_means(claim: MetricClaim, samples: Sequence[Sample]) -> tuple[dict[str, float], str]:
    """Return one value per item, for repeats of an item are no independent samples, and what it is called."""
    items: dict[str, list[float]] = {}
    for sample in samples:
        if claim.score in sample.scores:
            items.setdefault(sample.id, []).append(sample.scores[claim.score])
    repeats = max(map(len, items.values()), default=1)
    method = "mean" if repeats == 1 else f"mean over items of {repeats} repeats"
    return {item: statistics.mean(values) for item, values in items.items()}, method


def _pooled(items: Mapping[str, float]) -> float | None:
    parts: dict[str, list[float]] = {}
    for item, value in items.items():
        parts.setdefault(item.rpartition("/")[0], []).append(value)
    return statistics.pooled_standard_error(list(parts.values()))


def _pass_at_k(claim: MetricClaim, samples: Sequence[Sample]) -> dict[str, float]:
    outcomes: dict[str, list[bool]] = {}
    for sample in samples:
        outcomes.setdefault(sample.id, []).append(sample.scores[claim.score or "pass"] == 1.0)
    enough = {problem: passed for problem, passed in outcomes.items() if len(passed) >= claim.k}
    return statistics.pass_at_k_per_problem(enough, claim.k)


def _check(claim: MetricClaim, values: Sequence[float]) -> None:
    if not values:
        raise HarnessError(
            f'no sample carries the score "{claim.score}" behind the metric {claim.name}',
            where=claim.task,
            next_step="look into native/ and logs/; results.py of the harness reads the samples from there",
        )
    value = statistics.mean(values)
    if claim.value is not None and abs(value - claim.value) > _TOLERANCE:
        raise HarnessError(
            f"{claim.task} {claim.name}: the harness reports {claim.value!r}, its own samples give {value!r}",
            next_step="look into native/ and logs/; no score is reported that its samples do not carry",
        )


def _own_metric(values: Sequence[float], method: str, stderr: float | None) -> Metric:
    interval, name = statistics.interval_95(values)
    return Metric(
        value=statistics.mean(values),
        stderr=stderr,
        ci95=interval,
        n=len(values),
        method=f"{method}, {name} interval" if interval else method,
        stats={"count": len(values), "stderr": stderr},
    )


def _harness_metric(claim: MetricClaim, n: int) -> Metric:
    if claim.value is None:
        raise HarnessError(
            f"the harness printed no value for {claim.name}",
            where=claim.task,
            next_step="look into native/ and logs/; results.py of the harness reads its metrics from there",
        )
    return Metric(
        value=claim.value,
        stderr=claim.stderr,
        ci95=None,
        n=n,
        method="the harness's own",
        stats={"count": n, "stderr": claim.stderr},
    )


def _by_task(claims: Sequence[tuple[MetricClaim, Metric]]) -> dict[str, dict[str, Metric]]:
    tasks: dict[str, dict[str, Metric]] = {}
    for claim, metric in claims:
        tasks.setdefault(claim.task, {})[claim.name] = metric
    return tasks


def as_results(metrics: dict[str, dict[str, Metric]]) -> dict[str, Any]:
    """Return the tree under results.tasks or results.groups, in the incumbent's nesting."""
    return {
        task: {
            "metrics": {
                name: {"scores": {name: metric.model_dump(mode="json")}} for name, metric in named.items()
            }
        }
        for task, named in metrics.items()
    }
