"""Statistics of scores: mean, standard error, Wilson interval, pass@k."""

import math
from collections.abc import Mapping, Sequence

Z_95 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean; raises ValueError on no values."""
    if not values:
        raise ValueError("mean of no values")
    return math.fsum(values) / len(values)


def standard_error(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation over √n (ddof = 1), None below two values."""
    n = len(values)
    if n < 2:
        return None
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (n - 1) / n)


def pooled_standard_error(parts: Sequence[Sequence[float]]) -> float | None:
    """Return the standard error of the mean over all values, from the variance within the parts alone.

    Pooled variance over √n; lm-eval's figure of a group. None where no part shows a variance.
    """
    n = sum(map(len, parts))
    freedom = n - len(parts)
    if freedom < 1:
        return None
    centres = [mean(values) for values in parts]
    squares = math.fsum(
        (value - centre) ** 2 for values, centre in zip(parts, centres, strict=True) for value in values
    )
    return math.sqrt(squares / freedom / n)


def wilson_interval(successes: float, n: int, z: float = Z_95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion (E. B. Wilson, JASA 22, 1927); n ≥ 1."""
    share = successes / n
    denominator = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / denominator
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / denominator
    low = 0.0 if successes == 0 else centre - half  # exact, where rounding would leave 5e-17
    high = 1.0 if successes == n else centre + half
    return low, high


def interval_95(values: Sequence[float]) -> tuple[tuple[float, float] | None, str]:
    """Return the 95 % interval of the mean and its name: Wilson for 0/1 values, else normal."""
    if values and all(value in (0.0, 1.0) for value in values):
        return wilson_interval(math.fsum(values), len(values)), "Wilson"
    error = standard_error(values)
    if error is None:
        return None, "none"
    centre = mean(values)
    return (centre - Z_95 * error, centre + Z_95 * error), "normal"


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Return the unbiased estimator 1 - C(n-c, k) / C(n, k) (Chen et al. 2021, arXiv:2107.03374)."""
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} samples per problem, there are {n}")
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def pass_at_k_per_problem(outcomes: Mapping[str, Sequence[bool]], k: int) -> dict[str, float]:
    """Return the pass@k estimate of each problem, given the outcome of each of its samples."""
    return {problem: pass_at_k(len(passed), sum(passed), k) for problem, passed in outcomes.items()}
