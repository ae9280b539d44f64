import math

import numpy
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from evaldock_entrypoints.contract import statistics

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50)


@given(VALUES)
def test_standard_error_is_scipys(values: list[float]) -> None:
    ours = statistics.standard_error(values)
    assert ours == pytest.approx(scipy.stats.sem(values), rel=1e-6, abs=1e-6)


@given(st.integers(1, 500), st.data())
def test_wilson_interval_is_scipys(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    theirs = scipy.stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    low, high = statistics.wilson_interval(successes, n)
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@given(st.integers(1, 12), st.data())
def test_pass_at_k_is_the_share_of_k_subsets_with_a_pass(n: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, n))
    # 1 - prod(1 - k / i): the second form of the Codex paper's estimator, computed another way.
    product = numpy.prod(1.0 - k / numpy.arange(n - correct + 1, n + 1)) if n - correct >= k else 0.0
    assert statistics.pass_at_k(n, correct, k) == pytest.approx(1.0 - product)


def test_pass_at_k_refuses_fewer_samples_than_k() -> None:
    with pytest.raises(ValueError, match="at least 10"):
        statistics.pass_at_k(5, 1, 10)


def test_zero_one_values_get_a_wilson_interval_and_others_a_normal_one() -> None:
    assert statistics.interval_95([0.0, 1.0, 1.0])[1] == "Wilson"
    interval, name = statistics.interval_95([0.5, 0.25, 1.0])
    assert name == "normal"
    assert interval is not None
    assert math.isclose(sum(interval) / 2, statistics.mean([0.5, 0.25, 1.0]))
