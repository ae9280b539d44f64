"""Log-probabilities and sampling."""

import numpy as np
import pytest

from evaldock_entrypoints.serve.batching.sampling import Sampler, Scorer, candidates
from evaldock_entrypoints.serve.front.protocol import Sampling

ROW = np.array([0.0, 3.0, 1.0, 2.0, -1.0], dtype=np.float32)


def softmax(row: np.ndarray) -> np.ndarray:
    weights = np.exp(row.astype(np.float64))
    return np.asarray(weights / weights.sum())


@pytest.mark.parametrize("top", [0, 1, 3, 9])
def test_scores_are_the_log_softmax(top: int) -> None:
    scored = Scorer().score(ROW, 2, top)
    assert scored.logprob == pytest.approx(np.log(softmax(ROW)[2]), abs=1e-6)
    assert [token for token, _ in scored.top] == [1, 3, 2, 0, 4][:top]


@pytest.mark.parametrize("top", [1, 5])
def test_the_best_tokens_score_equals_its_alternative_exactly(top: int) -> None:
    row = np.random.default_rng(1).normal(size=50_000).astype(np.float32) * 7
    best = int(row.argmax())
    scored = Scorer().score(row, best, top)
    assert scored.logprob == scored.top[0][1]


def test_large_logits_do_not_overflow() -> None:
    scored = Scorer().score(np.array([1e4, 1e4], dtype=np.float32), 0, 1)
    assert scored.logprob == pytest.approx(-np.log(2))


def test_temperature_0_is_greedy() -> None:
    assert {Sampler(Sampling(temperature=0.0)).choose(ROW) for _ in range(5)} == {1}


def test_same_seed_same_choices_other_seed_others() -> None:
    def draw(seed: int) -> list[int]:
        sampler = Sampler(Sampling(seed=seed))
        return [sampler.choose(ROW) for _ in range(50)]

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)
    assert draw(-1) == draw(-1)


def test_sampled_shares_follow_the_distribution() -> None:
    sampler = Sampler(Sampling(seed=1))
    counts = np.bincount([sampler.choose(ROW) for _ in range(20_000)], minlength=5) / 20_000
    assert counts == pytest.approx(softmax(ROW), abs=0.015)


@pytest.mark.parametrize(
    ("sampling", "tokens"),
    [
        (Sampling(top_k=2), {1, 3}),
        (Sampling(top_p=0.5), {1}),
        (Sampling(top_p=0.7), {1, 3}),
        (Sampling(top_p=0.0), {1}),
        (Sampling(top_k=3, top_p=0.9), {1, 3}),
        (Sampling(), {0, 1, 2, 3, 4}),
    ],
)
def test_top_k_and_top_p_keep_the_likeliest(sampling: Sampling, tokens: set[int]) -> None:
    assert set(candidates(ROW, sampling)[0].tolist()) == tokens
