"""Fault rules: which requests are hit, and how; seeded by rule, request body and ordinal."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from evaldock.testkit.fake_endpoint.errors import FakeEndpointError
from evaldock.testkit.fake_endpoint.table import digest

Action = Literal[
    "status",
    "hang",
    "reset",
    "slow_bytes",
    "truncate",
    "invalid_json",
    "empty_body",
    "html",
    "null_content",
    "no_usage",
    "wrong_content_type",
    "sse_cut",
    "sse_error",
    "error_answer",
    "latency",
    "huge",
    "control_chars",
    "forged_model",
    "reordered",
    "duplicate",
]
RetryAfter = Literal["none", "seconds", "date", "ms", "garbage"]
Route = Literal["completions", "chat", "embeddings", "models", "tokenize", "detokenize", "tokenizer_info"]

# Without match.route a rule hits only these: a fault meant for answers must not break a tokenizer's route.
_ANSWER_ROUTES = ("completions", "chat", "embeddings")
# Actions that mean nothing for a request that does not stream.
_STREAM_ONLY = ("sse_cut", "sse_error")


class Match(BaseModel):
    """Which requests a rule hits; conditions are joined by "and"."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    route: Route | None = None
    item: str | None = None
    share: float | None = Field(default=None, ge=0, le=1)
    nth: int | None = Field(default=None, ge=1)
    first_n: int | None = Field(default=None, ge=0)
    body_contains: str | None = None
    in_flight_above: int | None = Field(default=None, ge=0)


class Rule(BaseModel):
    """One fault: its condition, the action and the action's parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    match: Match = Match()
    action: Action
    times: int | None = Field(default=None, ge=1)
    status: int | None = Field(default=None, ge=200, le=599)
    retry_after: RetryAfter = "none"
    retry_after_s: float = Field(default=1.0, ge=0)
    latency_ms: float = Field(default=1000.0, ge=0)
    interval_ms: float = Field(default=1000.0, ge=0)
    size_bytes: int = Field(default=10 * 2**20, ge=1)
    at: Literal["start", "half"] = "start"
    model: str = "another-model"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the rules look at: one request, how often its body was seen (from 1), how many there are now."""

    route: str
    body: bytes
    body_hash: int
    ordinal: int
    items: frozenset[str]
    stream: bool
    in_flight: int = 1


_RULES = TypeAdapter(tuple[Rule, ...])


def read_rules(source: str) -> tuple[Rule, ...]:
    """Rules from inline JSON (starts with "[" or "{") or a YAML/JSON file. Raises FakeEndpointError."""
    inline = source.lstrip().startswith(("[", "{"))
    where = "--faults" if inline else source
    try:
        text = source if inline else Path(source).read_text(encoding="utf-8")
        return parse_rules(yaml.safe_load(text), where)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FakeEndpointError(f"cannot read fault rules from {where}: {error}") from error


def parse_rules(value: object, where: str) -> tuple[Rule, ...]:
    """Rules from parsed YAML or JSON: a list, one rule, or {faults: [...]}. Raises FakeEndpointError."""
    if isinstance(value, dict):
        value = value.get("faults", [value])
    try:
        return _RULES.validate_python([] if value is None else value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise FakeEndpointError(f"{where}: rule {field}: {first['msg']}") from error


class FaultPlan:
    """The rules with the count of how often each fired."""

    def __init__(self, rules: Sequence[Rule], *, seed: int) -> None:
        self.rules = tuple(rules)
        self._seed = seed
        self._fired: Counter[int] = Counter()

    def pick(self, asked: Asked) -> tuple[list[Rule], Rule | None]:
        """The latency rules that hit this request and the first other rule that does; both count as fired."""
        delays: list[Rule] = []
        for number, rule in enumerate(self.rules):
            if not self._hits(number, rule, asked):
                continue
            self._fired[number] += 1
            if rule.action != "latency":
                return delays, rule
            delays.append(rule)
        return delays, None

    def _hits(self, number: int, rule: Rule, asked: Asked) -> bool:
        match = rule.match
        return (
            asked.route in _routes(rule)
            and (asked.stream or rule.action not in _STREAM_ONLY)
            and (match.item is None or match.item in asked.items)
            and (match.nth is None or asked.ordinal == match.nth)
            and (match.first_n is None or asked.ordinal <= match.first_n)
            and (match.body_contains is None or match.body_contains.encode() in asked.body)
            and (match.in_flight_above is None or asked.in_flight > match.in_flight_above)
            and (rule.times is None or self._fired[number] < rule.times)
            and (match.share is None or self._draw(number, asked) < match.share)
        )

    def _draw(self, number: int, asked: Asked) -> float:
        return digest(self._seed, "fault", number, asked.body_hash, asked.ordinal) / 2**64


def _routes(rule: Rule) -> tuple[str, ...]:
    if rule.match.route:
        return (rule.match.route,)
    return (*_ANSWER_ROUTES, "models") if rule.action == "forged_model" else _ANSWER_ROUTES
