"""Cuts reasoning off what the harness sees, and counts it; the store keeps answers as they came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaldock_entrypoints.adapter.call import Answer, Call
from evaldock_entrypoints.adapter.interceptor import Context, Interceptor
from evaldock_entrypoints.adapter.interceptors.reasoning_text import (
    FIELDS,
    Separated,
    Tokens,
    of_content,
    of_fields,
    separated,
)
from evaldock_entrypoints.adapter.interceptors.shapes import choices_of, text_of
from evaldock_entrypoints.contract import answer_interceptors as contract


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What one choice holds. whole: its content as it came; cut: without reasoning."""

    whole: Any
    cut: Any
    in_text: Separated
    beside: str  # in a field of its own
    has_tools: bool

    @property
    def is_plain(self) -> bool:
        return self.cut == self.whole and not self.beside and not self.in_text.is_open

    @property
    def words(self) -> int:
        return len(self.in_text.reasoning.split()) + len(self.beside.split())

    @property
    def is_open(self) -> bool:
        """Tell whether the reasoning has not ended: a server's own field leaves no text then."""
        nothing_said = bool(self.beside) and not self.in_text.text.strip() and not self.has_tools
        return self.in_text.is_open or nothing_said


class Reasoning(Interceptor[contract.Reasoning]):
    """Reasoning between tokens, in parts of a list, and in the fields of servers that split it off."""

    Config = contract.Reasoning

    def __init__(self, config: contract.Reasoning, context: Context) -> None:
        super().__init__(config, context)
        self._tokens = Tokens(start=config.start_reasoning_token, end=config.end_reasoning_token)

    def on_response(self, call: Call, answer: Answer) -> None:
        """Look at every choice; change those that hold reasoning."""
        if answer.status >= 400 or not answer.facts.is_generation:
            return
        found = [self._look(choice) for choice in choices_of(answer.body.tree)]
        if self.config.track:
            _count(call, answer, found)
        if not all(one.is_plain for one in found):
            for choice, one in zip(choices_of(answer.body.edit()), found, strict=True):
                self._change(choice, one)

    def _look(self, choice: Mapping[str, Any]) -> _Found:
        message = choice.get("message")
        if not isinstance(message, dict):
            text = str(choice.get("text") or "")
            in_text = separated(text, self._tokens)
            return _Found(whole=text, cut=in_text.text, in_text=in_text, beside="", has_tools=False)
        content = message.get("content")
        beside, has_tools = of_fields(message), bool(message.get("tool_calls"))
        if (beside or has_tools) and self._tokens.start is None and self._tokens.end not in text_of(content):
            cut, in_text = content, Separated(text=text_of(content), reasoning="")
        else:
            cut, in_text = of_content(content, self._tokens)
        return _Found(whole=content, cut=cut, in_text=in_text, beside=beside, has_tools=has_tools)

    def _change(self, choice: dict[str, Any], found: _Found) -> None:
        message = choice.get("message")
        if self.config.migrate_reasoning_content:
            if isinstance(message, dict) and found.beside:
                message["content"] = self._migrated(message.get("content"), found)
                _drop_fields(message)
        elif self.config.strip and isinstance(message, dict):
            if (kept := self._kept(found)) is not None:
                message["content"] = kept
            _drop_fields(message)
        elif self.config.strip and "text" in choice:
            choice["text"] = self._kept(found)

    def _kept(self, found: _Found) -> Any:
        if found.in_text.is_open and self.config.include_if_not_finished:
            return found.whole
        if not found.cut and not found.has_tools:
            return ""  # neither null nor an empty list: a harness reads text
        return found.cut

    def _migrated(self, content: Any, found: _Found) -> Any:
        end = "" if found.is_open else self.config.end_reasoning_token
        trace = f"{self.config.start_reasoning_token}{found.beside}{end}"
        if isinstance(content, list):
            return [{"type": "text", "text": trace}, *content]
        return trace + (content or "")


def _drop_fields(message: dict[str, Any]) -> None:
    for name in FIELDS:
        message.pop(name, None)


def _count(call: Call, answer: Answer, found: Sequence[_Found]) -> None:
    """Note words, tokens and unfinished reasoning with the delivery."""
    call.notes["reasoning_words"] = sum(one.words for one in found)
    call.notes["reasoning_unfinished"] = sum(one.is_open for one in found)
    told = _told_tokens(answer)
    if told is not None:
        call.notes["reasoning_tokens"] = told
    elif call.notes["reasoning_words"] and answer.facts.completion_tokens is not None:
        call.notes["reasoning_tokens"] = round(answer.facts.completion_tokens * _share(found))
        call.notes["reasoning_tokens_estimated"] = True


def _told_tokens(answer: Answer) -> int | None:
    """Return what the server counted, wherever it says so."""
    usage = (answer.body.tree or {}).get("usage")
    usage = usage if isinstance(usage, dict) else {}
    places = (usage.get("completion_tokens_details"), usage.get("output_tokens_details"), usage)
    counts = [place.get("reasoning_tokens") for place in places if isinstance(place, dict)]
    return next((one for one in counts if isinstance(one, int)), answer.facts.reasoning_tokens)


def _share(found: Sequence[_Found]) -> float:
    """Return the share of reasoning in all that was written, by characters."""
    reasoning = sum(len(one.in_text.reasoning) + len(one.beside) for one in found)
    text = sum(len(one.in_text.text) for one in found)
    return reasoning / max(1, reasoning + text)
