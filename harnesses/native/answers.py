"""From replies to the record of a question."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from ask import Reply
from items import Item
from prompts import Request
from scoring import judge

Record = dict[str, Any]  # one line of answers.jsonl; README.md lists its fields


def identity(item: Item, repeat: int, requests: Sequence[Request]) -> Record:
    """Return what a record says of its question, answered or not."""
    targets = [item.choices[item.right]] if item.choices else item.targets
    return {
        "id": item.id,
        "repeat": repeat,
        "prompt_hash": prompt_hash(requests),
        "target": " | ".join(targets),
    }


def prompt_hash(requests: Sequence[Request]) -> str:
    """SHA-256 of the bodies as canonical JSON, without the seed, by which alone repeats differ."""
    bodies = [{key: value for key, value in each.body.items() if key != "seed"} for each in requests]
    return hashlib.sha256(json.dumps(bodies, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def answered(item: Item, replies: Sequence[Reply]) -> Record:
    """Return what a record says of the answer: a generated one, or one log-probability for each choice."""
    logprobs = [reply.logprob for reply in replies if reply.logprob is not None]
    verdict = preferred(item, logprobs) if logprobs else generated(item, replies[0])
    return {
        **verdict,
        "request_keys": [reply.key for reply in replies if reply.key],
        "prompt_tokens": _sum([reply.prompt_tokens for reply in replies]),
        "completion_tokens": None if logprobs else replies[0].completion_tokens,
        "latency_ms": round(sum(reply.latency_ms for reply in replies), 3),
    }


def generated(item: Item, reply: Reply) -> Record:
    extracted, is_right = judge(item, reply.text)
    return {
        "response": reply.text,
        "extracted_answer": extracted,
        "scores": {"acc": float(is_right)},
        "finish_reason": reply.finish_reason,
    }


def preferred(item: Item, logprobs: Sequence[float]) -> Record:
    """The right choice must be strictly the likeliest; acc_norm divides by the choice's characters."""
    per_character = [value / len(choice) for value, choice in zip(logprobs, item.choices, strict=True)]
    choice = item.choices[max(range(len(logprobs)), key=logprobs.__getitem__)]
    return {
        "response": choice,
        "extracted_answer": choice,
        "scores": {"acc": _is_best(item.right, logprobs), "acc_norm": _is_best(item.right, per_character)},
        "finish_reason": None,
    }


def _is_best(right: int, values: Sequence[float]) -> float:
    return float(all(values[right] > value for number, value in enumerate(values) if number != right))


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
