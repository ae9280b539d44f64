"""Log-probabilities in OpenAI's two shapes: completions (parallel lists) and chat (one object per token)."""

from collections.abc import Sequence

from evaldock_entrypoints.serve.front.protocol import ScoredToken, Tokenizer
from evaldock_entrypoints.serve.front.text import text_offsets, token_text

# JSON has no infinity; vLLM clamps to the same figure.
LOWEST_LOGPROB = -9999.0


def completion_logprobs(
    tokens: Sequence[ScoredToken], tokenizer: Tokenizer, *, unseen: int = 0
) -> dict[str, object]:
    """Return tokens, token_logprobs, top_logprobs and text_offset, all of one length.

    `top_logprobs` always holds the token itself besides the alternatives, with the very same float as in
    `token_logprobs`: lm-eval finds "greedy" by comparing the two. The text lacks the first `unseen` tokens.
    """
    pieces = [tokenizer.piece(scored.token) for scored in tokens]
    offsets = text_offsets(b"" if index < unseen else piece for index, piece in enumerate(pieces))
    return {
        "tokens": [token_text(piece) for piece in pieces],
        "token_logprobs": [clamp(scored.logprob) for scored in tokens],
        "top_logprobs": [_alternatives(scored, tokenizer) for scored in tokens],
        "text_offset": offsets,
    }


def chat_logprobs(tokens: Sequence[ScoredToken], tokenizer: Tokenizer) -> dict[str, object]:
    """Return one object per generated token that is part of the content."""
    return {"content": [_chat_token(scored, tokenizer) for scored in tokens], "refusal": None}


def clamp(logprob: float | None) -> float | None:
    """Return a log-probability that JSON can carry."""
    return None if logprob is None else max(logprob, LOWEST_LOGPROB)


def _alternatives(scored: ScoredToken, tokenizer: Tokenizer) -> dict[str, float] | None:
    if scored.logprob is None:
        return None
    alternatives: dict[str, float] = {}
    for token, logprob in (*scored.top, (scored.token, scored.logprob)):
        text = token_text(tokenizer.piece(token))
        # two ids can have one text: the likelier stands, so that the maximum stays the maximum
        alternatives[text] = max(alternatives.get(text, LOWEST_LOGPROB), logprob)
    return alternatives


def _chat_token(scored: ScoredToken, tokenizer: Tokenizer) -> dict[str, object]:
    return {
        **_chat_entry(scored.token, scored.logprob, tokenizer),
        "top_logprobs": [_chat_entry(token, logprob, tokenizer) for token, logprob in scored.top],
    }


def _chat_entry(token: int, logprob: float | None, tokenizer: Tokenizer) -> dict[str, object]:
    piece = tokenizer.piece(token)
    return {"token": token_text(piece), "logprob": clamp(logprob), "bytes": list(piece)}
