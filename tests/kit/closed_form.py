"""pass@k by its definition, to hold an estimator against: every choice of k answers is looked at."""

from collections.abc import Sequence
from itertools import combinations
from statistics import mean


def pass_at_k(items: Sequence[Sequence[bool]], k: int) -> float:
    """Return the chance that of k answers, drawn without putting back, one is right; the mean over items."""
    return mean(mean(float(any(drawn)) for drawn in combinations(answers, k)) for answers in items)
