"""Counters of the front, as Prometheus text."""

import re
from collections import Counter
from dataclasses import dataclass, field

from evaldock_entrypoints.serve.front.protocol import EngineLoad


@dataclass(kw_only=True)
class Metrics:
    """What the server counted since it started."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    finished: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    answered_s: float = 0.0

    def count_answer(self, route: str, status: int, seconds: float) -> None:
        """Count one HTTP answer."""
        self.answers[route, status] += 1
        self.answered_s += seconds

    def count_sequence(self, prompt_tokens: int, completion_tokens: int, reason: str) -> None:
        """Count one finished sequence."""
        self.finished[reason] += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens

    def render(self, load: EngineLoad, *, ready: bool) -> bytes:
        """Return the Prometheus exposition."""
        lines = ["# TYPE evaldock_requests_total counter"]
        for (route, status), count in sorted(self.answers.items()):
            lines.append(f'evaldock_requests_total{{route="{_label(route)}",status="{status}"}} {count}')
        lines.append("# TYPE evaldock_sequences_total counter")
        for reason, count in sorted(self.finished.items()):
            lines.append(f'evaldock_sequences_total{{finish_reason="{_label(reason)}"}} {count}')
        for name, kind, value in (
            ("prompt_tokens_total", "counter", self.prompt_tokens),
            ("completion_tokens_total", "counter", self.completion_tokens),
            ("request_seconds_total", "counter", round(self.answered_s, 6)),
            ("sequences_running", "gauge", load.running),
            ("sequences_waiting", "gauge", load.waiting),
            ("engine_ready", "gauge", int(ready)),
        ):
            lines += [f"# TYPE evaldock_{name} {kind}", f"evaldock_{name} {value}"]
        return ("\n".join(lines) + "\n").encode()


def _label(value: str) -> str:
    return re.sub(r'["\\\n]', "_", value)
