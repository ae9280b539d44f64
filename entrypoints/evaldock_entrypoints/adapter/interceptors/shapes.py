"""Reading OpenAI-shaped bodies: messages, choices, texts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

SYSTEM_ROLES = frozenset({"system", "developer"})


def messages_of(tree: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the messages of a chat request; raises ValueError where there are none."""
    found = tree.get("messages") if tree else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError("the request holds no list of messages")
    return found


def choices_of(tree: Mapping[str, Any] | None) -> Sequence[dict[str, Any]]:
    """Return the choices of an answer, empty where it has none."""
    found = tree.get("choices") if tree else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else ()


def is_system(message: Mapping[str, Any]) -> bool:
    """Tell whether a message is the system's; newer models call that role developer."""
    return message.get("role") in SYSTEM_ROLES


def is_text_part(part: Any) -> bool:
    """Tell whether a part of a message's content is text."""
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def text_of(content: Any) -> str:
    """Return the text of a message's content: text, or the text parts of a list."""
    if isinstance(content, str):
        return content
    return (
        "".join(part["text"] for part in content if is_text_part(part)) if isinstance(content, list) else ""
    )


def functions_of(tools: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each tool with its function, in which name and parameters stand."""
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict):
            yield tool, function
