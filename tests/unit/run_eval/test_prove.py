import math

import numpy
import pytest

from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.results import MetricClaim, Outcome, Sample, SampleError
from evaldock_entrypoints.exchanges.traffic import Failure, SessionTraffic, Traffic
from evaldock_entrypoints.run_eval.prove import prove


def samples(*values: float) -> list[Sample]:
    return [Sample(id=str(i), response="x", scores={"acc": value}) for i, value in enumerate(values)]


def outcome(found: list[Sample], value: float | None = None, **claim: object) -> Outcome:
    fields = {"task": "t", "name": "acc", "value": value, "score": "acc"} | claim
    return Outcome(samples=found, claims=[MetricClaim(**fields)])  # type: ignore[arg-type]


def test_every_sample_scored_is_complete() -> None:
    proof = prove(outcome(samples(1, 0, 1, 1), 0.75), 4)
    assert proof.status == "complete"
    metric = proof.tasks["t"]["acc"]
    assert (metric.value, metric.n) == (0.75, 4)
    assert metric.method == "mean, Wilson interval"


def test_a_missing_sample_makes_the_result_incomplete() -> None:
    proof = prove(outcome(samples(1, 0, 1), 2 / 3), 4)
    assert proof.status == "incomplete"
    assert "1 of 4 samples are missing" in proof.reasons[0]


def test_an_errored_sample_makes_the_result_incomplete_and_is_not_a_zero() -> None:
    failed = Sample(id="3", error=SampleError(kind="endpoint", message="500 five times"))
    proof = prove(outcome([*samples(1, 1, 1), failed]), 4)
    assert proof.status == "incomplete"
    assert proof.completeness.errored == 1
    assert proof.tasks["t"]["acc"].value == 1.0
    assert "500 five times" in proof.reasons[0]


def test_a_sample_counted_twice_does_not_stand_in_for_a_missing_one() -> None:
    found = samples(1, 0, 1)
    proof = prove(outcome([*found, found[0]]), 4)
    assert proof.status == "incomplete"
    assert any("more than once" in reason for reason in proof.reasons)


def test_a_nan_score_is_not_a_score() -> None:
    proof = prove(outcome(samples(1, float("nan"))), 2)
    assert proof.status == "incomplete"


def test_more_samples_than_expected_is_incomplete() -> None:
    assert prove(outcome(samples(1, 1, 1)), 2).status == "incomplete"


def test_a_claim_that_the_samples_do_not_carry_is_refused() -> None:
    with pytest.raises(HarnessError, match=r"reports 0\.9"):
        prove(outcome(samples(1, 0), 0.9), 2)


def test_a_group_member_counts_its_own_samples_only() -> None:
    found = [Sample(id=f"a/{i}", scores={"acc": 1.0}) for i in range(3)]
    found += [Sample(id=f"b/{i}", scores={"acc": 0.0}) for i in range(1)]
    claims = [
        MetricClaim(task="a", name="acc", value=1.0, score="acc", within="a/"),
        MetricClaim(task="all", name="acc", value=0.75, score="acc", group=True),
    ]
    proof = prove(Outcome(samples=found, claims=claims), 4)
    assert proof.tasks["a"]["acc"].n == 3
    assert proof.groups["all"]["acc"].value == 0.75


def test_a_pooled_claims_standard_error_is_of_the_variance_within_its_parts() -> None:
    values = {"a": [1.0, 0.0, 1.0, 1.0], "b": [0.0, 0.0, 1.0]}
    found = [
        Sample(id=f"{part}/{number}", scores={"acc": value})
        for part, listed in values.items()
        for number, value in enumerate(listed)
    ]
    metric = prove(outcome(found, 4 / 7, pooled=True), 7).tasks["t"]["acc"]
    # lm-eval's pooled_sample_stderr of the parts' own standard errors
    squares = sum((len(part) - 1) * numpy.var(part, ddof=1) for part in values.values())
    assert metric.stderr == pytest.approx(math.sqrt(squares / (7 - 2) / 7), rel=1e-12)
    assert metric.stderr != prove(outcome(found, 4 / 7), 7).tasks["t"]["acc"].stderr


def test_pass_at_k_uses_the_repeats_of_each_problem() -> None:
    found = [
        Sample(id=problem, repeat=repeat, scores={"pass": value})
        for problem, values in {"p": (1.0, 0.0), "q": (0.0, 0.0)}.items()
        for repeat, value in enumerate(values)
    ]
    one = outcome(found, score="pass", method="pass@k", k=1)
    two = outcome(found, score="pass", method="pass@k", k=2)
    assert prove(one, 4).tasks["t"]["acc"].value == 0.25
    assert prove(two, 4).tasks["t"]["acc"].value == 0.5


def test_empty_answers_and_truncations_are_counted_beside_the_score() -> None:
    found = [
        Sample(id="0", response="", scores={"acc": 0.0}, finish_reason="stop"),
        Sample(id="1", response="x", scores={"acc": 1.0}, finish_reason="length"),
    ]
    counts = prove(outcome(found), 2).completeness
    assert (counts.empty, counts.truncated) == (1, 1)


def test_what_nothing_counted_is_unknown_and_not_zero() -> None:
    counts = prove(outcome(samples(1.0)), 1).completeness
    assert counts.truncated is None
    assert counts.retried is None


def traffic(*errors: str, requests: int = 4) -> SessionTraffic:
    failures = [
        Failure(digest=b"", ordinal=0, route="/chat/completions", status=500, error=error, message="no")
        for error in errors
    ]
    target = Traffic(requests=requests, generations=requests, truncated=1, retried=2, cached=3)
    target.outstanding += failures
    return SessionTraffic(session="s", corrupt=0, lost=0, roles={None: target})


def test_a_failed_request_that_the_harness_scored_makes_the_result_incomplete() -> None:
    proof = prove(outcome(samples(1, 0, 1, 1), 0.75), 4, traffic("status"))
    assert proof.status == "incomplete"
    assert proof.completeness.errored == 1
    assert "1 requests got no answer" in proof.reasons[0]
    assert "status 500" in proof.reasons[0]


def test_a_failed_request_whose_sample_failed_is_counted_once() -> None:
    failed = Sample(id="3", error=SampleError(kind="endpoint", message="500"))
    proof = prove(outcome([*samples(1, 1, 1), failed]), 4, traffic("status"))
    assert proof.completeness.errored == 1
    assert len(proof.reasons) == 1


def test_a_harness_that_asked_nothing_proves_nothing() -> None:
    proof = prove(outcome(samples(1, 0, 1, 1), 0.75), 4, traffic(requests=0))
    assert proof.status == "incomplete"
    assert "asked the endpoint nothing" in proof.reasons[0]


def test_what_a_limit_of_the_document_refused_is_no_error() -> None:
    proof = prove(outcome(samples(1, 0, 1, 1), 0.75), 4, traffic("limit"))
    assert proof.status == "complete"


def test_the_adapters_counts_go_before_the_harnesss() -> None:
    counts = prove(outcome(samples(1, 0, 1, 1), 0.75), 4, traffic()).completeness
    assert (counts.truncated, counts.empty, counts.refused, counts.cached, counts.retried) == (1, 0, 0, 3, 2)
