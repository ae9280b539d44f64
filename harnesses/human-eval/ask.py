"""Ask one question of an OpenAI-style endpoint, once: evaldock's adapter, which has asked again already."""

import json
from dataclasses import dataclass
from typing import Any

import aiohttp

MESSAGE_CHARACTERS = 300


class AskError(Exception):
    """A question got no answer, or an error."""


class UnreachableError(Exception):
    """There is no connection, or it broke: no other question can fare better."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A good answer."""

    text: str
    finish_reason: str | None
    usage: dict[str, Any] | None


async def ask(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> Reply:
    """Return the answer; raises AskError where there is none and UnreachableError where nobody is there."""
    try:
        async with session.post(url, json=body, allow_redirects=False) as response:
            content = await response.read()
    except TimeoutError as error:
        raise AskError(f"no answer within {session.timeout.total} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise UnreachableError(f"{type(error).__name__}: {error}") from error
    if response.status != 200:
        raise AskError(f"HTTP {response.status}: {_message(content)}")
    return _reply(content)


def _message(content: bytes) -> str:
    """Return what an OpenAI-style error says, of any other body its beginning."""
    try:
        return str(json.loads(content)["error"]["message"])[:MESSAGE_CHARACTERS]
    except (ValueError, KeyError, TypeError):
        return content[:MESSAGE_CHARACTERS].decode("utf-8", "replace")


def _reply(content: bytes) -> Reply:
    """Read a 200; a body without a choice is an endpoint's error, never an empty answer."""
    try:
        body = json.loads(content)
        choice = body["choices"][0]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        finish_reason, usage = choice.get("finish_reason"), body.get("usage")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise AskError(f"HTTP 200 without a choice: {_message(content)}") from error
    if text is not None and not isinstance(text, str):
        raise AskError(f"HTTP 200 with a choice that is no text: {_message(content)}")
    return Reply(
        text=text or "",
        finish_reason=finish_reason if isinstance(finish_reason, str) else None,
        usage=usage if isinstance(usage, dict) else None,
    )
