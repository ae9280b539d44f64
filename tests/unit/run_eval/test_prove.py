import pytest

from evaldock_entrypoints.contract.errors import HarnessError
from evaldock_entrypoints.contract.results import MetricClaim, Outcome, Sample, SampleError
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
