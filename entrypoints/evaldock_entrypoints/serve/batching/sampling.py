"""Log-probabilities and sampling from logits, in numpy."""

import numpy as np
import numpy.typing as npt

from evaldock_entrypoints.serve.batching.decoder import Logits
from evaldock_entrypoints.serve.front.protocol import Sampling, ScoredToken


class Scorer:
    """Scores tokens against rows of logits; one scratch row, as a fresh one costs as much as the sum."""

    def __init__(self) -> None:
        self._scratch = np.empty(0, dtype=np.float32)

    def score(self, row: Logits, token: int, top: int) -> ScoredToken:
        """Return the token's log-softmax and the `top` likeliest tokens; equal ids have bit-equal figures."""
        best = int(row.argmax())
        norm = self._log_sum_exp(row, best)
        return ScoredToken(token, float(row[token]) - norm, _alternatives(row, best, norm, top))

    def _log_sum_exp(self, row: Logits, best: int) -> float:
        if self._scratch.shape != row.shape:
            self._scratch = np.empty_like(row)
        np.subtract(row, row[best], out=self._scratch)
        np.exp(self._scratch, out=self._scratch)
        return float(row[best]) + float(np.log(self._scratch.sum(dtype=np.float64)))


class Sampler:
    """Chooses the next tokens of one sequence; the same seed gives the same choices."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        # numpy takes no negative seed
        seed = None if sampling.seed is None else sampling.seed % 2**64
        self._random = np.random.default_rng(seed)

    def choose(self, row: Logits) -> int:
        """Return the next token."""
        sampling = self._sampling
        if sampling.temperature == 0.0 or sampling.top_k == 1:
            return int(row.argmax())
        tokens, weights = candidates(row, sampling)
        total = np.cumsum(weights)
        index = int(np.searchsorted(total, self._random.random() * total[-1], side="right"))
        return int(tokens[min(index, len(tokens) - 1)])


def candidates(row: Logits, sampling: Sampling) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the tokens that may be chosen and their weights: temperature, top_k, top_p, as in vLLM."""
    scaled = row.astype(np.float64) / sampling.temperature
    tokens: npt.NDArray[np.int64] = np.arange(len(row))
    if 0 < sampling.top_k < len(row):
        tokens = np.argpartition(scaled, -sampling.top_k)[-sampling.top_k :]
    weights = np.exp(scaled[tokens] - scaled[tokens].max())
    if sampling.top_p < 1.0:
        order = np.argsort(-weights, kind="stable")
        tokens, weights = tokens[order], weights[order]
        before = np.cumsum(weights) - weights
        kept = max(1, int((before < sampling.top_p * weights.sum()).sum()))
        tokens, weights = tokens[:kept], weights[:kept]
    return tokens, weights


def _alternatives(row: Logits, best: int, norm: float, top: int) -> tuple[tuple[int, float], ...]:
    if top <= 1:
        return ((best, float(row[best]) - norm),) * top
    count = min(top, len(row))
    chosen = np.argpartition(row, -count)[-count:]
    ordered = sorted(chosen.tolist(), key=lambda token: (-float(row[token]), token))
    return tuple((token, float(row[token]) - norm) for token in ordered)
