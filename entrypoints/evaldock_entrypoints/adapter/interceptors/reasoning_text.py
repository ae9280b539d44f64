"""Where reasoning ends and the answer begins, in a text or in a message."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evaldock_entrypoints.adapter.interceptors.shapes import is_text_part

FIELDS = ("reasoning_content", "reasoning", "reasoning_details")  # as servers call it, the text ones first
_THINKING_PARTS = frozenset({"thinking", "reasoning", "redacted_thinking"})


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What reasoning stands between. start: None where each answer begins with reasoning."""

    start: str | None
    end: str


@dataclass(frozen=True, kw_only=True)
class Separated:
    """A text without its reasoning, and the reasoning. is_open: it has not ended."""

    text: str
    reasoning: str
    is_open: bool = False


def separated(text: str, tokens: Tokens) -> Separated:
    """Return the text and its reasoning: every part between the tokens.

    A part may lack its first token, which some chat templates put into the prompt. What a model says before
    a part stays; newlines at both ends go.
    """
    kept, reasoning = [], []
    rest, is_open = text, False
    if tokens.start is None or _ends_first(text, tokens):
        thought, end, rest = text.partition(tokens.end)
        reasoning.append(thought)
        is_open = not end
    while tokens.start is not None and tokens.start in rest:
        before, _, after = rest.partition(tokens.start)
        thought, end, rest = after.partition(tokens.end)
        kept.append(before)
        reasoning.append(thought)
        is_open = not end
    kept.append(rest)
    if not reasoning:
        return Separated(text=text, reasoning="")
    return Separated(text="".join(kept).strip("\n"), reasoning="\n".join(reasoning), is_open=is_open)


def _ends_first(text: str, tokens: Tokens) -> bool:
    end = text.find(tokens.end)
    start = text.find(tokens.start or "")
    return end >= 0 and (start < 0 or end < start)


def of_content(content: Any, tokens: Tokens) -> tuple[Any, Separated]:
    """Return a message's content without its reasoning, and what was separated; lists stay lists."""
    if isinstance(content, str):
        found = separated(content, tokens)
        return found.text, found
    if not isinstance(content, list):
        return content, Separated(text="", reasoning="")
    parts, thoughts, is_open = [], [], False
    for part in content:
        if isinstance(part, dict) and part.get("type") in _THINKING_PARTS:
            thoughts.append(_text_in(part))
        elif is_text_part(part):
            found = separated(part["text"], tokens)
            parts.append({**part, "text": found.text})
            thoughts.append(found.reasoning)
            is_open = is_open or found.is_open
        else:
            parts.append(part)
    text = "".join(part["text"] for part in parts if is_text_part(part))
    reasoning = "\n".join(filter(None, thoughts))
    return parts, Separated(text=text, reasoning=reasoning, is_open=is_open)


def of_fields(message: Mapping[str, Any]) -> str:
    """Return the reasoning that a server puts beside the answer."""
    texts = [_text_in(message[name]) for name in FIELDS if message.get(name)]
    return texts[0] if texts else ""


def _text_in(value: Any) -> str:
    """Return every text inside, as servers nest it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(_text_in, value))
    if isinstance(value, dict):
        return next(
            (_text_in(value[key]) for key in ("thinking", "reasoning", "text", "summary") if key in value), ""
        )
    return ""
