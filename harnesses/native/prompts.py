"""From a question to the bodies of its requests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from items import LETTERS, Item, Message, RefusedError

Body = dict[str, Any]
LETTER_ONLY = "Answer with the letter of the right choice."
BLANK_LINE = "\n\n"


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request. scored_from: where in its prompt the scored choice begins; None: it generates."""

    body: Body
    scored_from: int | None = None


@dataclass(frozen=True, kw_only=True)
class Style:
    """How questions are put: to which type of endpoint, after which examples, ending where."""

    endpoint_type: str
    shots: Sequence[Item] = ()
    stop: str | None = None


def requests_of(item: Item, style: Style, sampling: Body) -> list[Request]:
    """Return the requests of one question: one, or one for each choice where log-probabilities decide.

    sampling: the model and its sampling parameters.
    """
    if style.endpoint_type == "chat":
        return [Request(body={**sampling, "messages": chat(item, style.shots), **_stop(style.stop)})]
    if style.endpoint_type == "completions":
        stop = style.stop or ("\n" if item.framed or item.choices else BLANK_LINE if style.shots else None)
        return [Request(body={**sampling, "prompt": completion(item, style.shots), **_stop(stop)})]
    model = {"model": sampling["model"], "temperature": 0.0, "max_tokens": 1, "echo": True, "logprobs": 1}
    shots = "".join(
        _scored_text(shot) + _gap(shot) + shot.choices[shot.right] + BLANK_LINE for shot in style.shots
    )
    context = shots + _scored_text(item)
    return [
        Request(body={**model, "prompt": context + _gap(item) + choice}, scored_from=len(context))
        for choice in item.choices
    ]


def chat(item: Item, shots: Sequence[Item]) -> list[Message]:
    """Return the messages: the examples as earlier turns, after what the question's own chat says first."""
    own = list(item.messages) or [{"role": "user", "content": _asked(item)}]
    turns = [
        {"role": role, "content": content}
        for shot in shots
        for role, content in (("user", _asked(shot)), ("assistant", shot.targets[0]))
    ]
    first = next(number for number, message in enumerate(own) if message["role"] != "system")
    return [*own[:first], *turns, *own[first:]]


def completion(item: Item, shots: Sequence[Item]) -> str:
    """Return the text to go on from: the examples with their answers first, a blank line after each."""
    examples = [_open_text(shot) + _gap(shot) + shot.targets[0] + BLANK_LINE for shot in shots]
    return "".join(examples) + _open_text(item)


def refuse_unaskable(items: Sequence[Item], shots: Sequence[Item], endpoint_type: str) -> None:
    """Raise RefusedError where a question or an example cannot be put to this type of endpoint."""
    for shot in shots:
        if shot.messages:
            raise RefusedError(f'few-shot row "{shot.id}": give "prompt", not "messages"')
    chats = [item.id for item in items if item.messages]
    if chats and endpoint_type != "chat":
        raise RefusedError(
            f'row "{chats[0]}" and {len(chats) - 1} more have "messages", which endpoint type '
            f'{endpoint_type} cannot be asked: give "prompt", or use type chat'
        )


def _asked(item: Item) -> str:
    """Return what a user says in a chat."""
    if item.choices:
        return f"{item.text}\n\n{_lettered(item)}\n\n{LETTER_ONLY}"
    return f"{item.text}\n{item.instruction}" if item.instruction else item.text


def _open_text(item: Item) -> str:
    """Return a question that waits for its answer."""
    if item.choices:
        return f"{item.text}\n{_lettered(item)}\nAnswer:"
    return f"Question: {item.text}\nAnswer:" if item.framed else item.text


def _scored_text(item: Item) -> str:
    return f"Question: {item.text}\nAnswer:" if item.framed else item.text


def _lettered(item: Item) -> str:
    return "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, item.choices, strict=False))


def _gap(item: Item) -> str:
    """A text that ends in white space brings the gap before its answer itself."""
    return "" if item.text[-1:].isspace() and not item.framed and not item.choices else " "


def _stop(stop: str | None) -> Body:
    return {} if stop is None else {"stop": [stop]}
