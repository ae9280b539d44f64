"""garak's OpenAI client, made to ask once and to say why there is no answer."""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

ATTEMPTS = 3
MESSAGE_CHARACTERS = 300


class RefusedRequestError(Exception):
    """The endpoint answered with an HTTP error, which garak itself would log and forget."""


def change_client(endpoint_type: str, timeout_s: float, errors: Path) -> None:
    """Change the class before garak makes one of it; its worker processes are forks and inherit that.

    By itself garak repeats a refused request without end, and the library below it two times more. Here a
    request is repeated only where no answer came; what has failed for good is noted in `errors` and becomes
    garak's own sign of no answer, None.
    """
    import backoff
    import openai
    from garak.exception import GarakException
    from garak.generators.openai import OpenAICompatible

    unreadable = (GarakException, ValueError, LookupError, TypeError, AttributeError)
    again = backoff.on_exception(backoff.constant, openai.APIConnectionError, max_tries=ATTEMPTS)
    ask = again(OpenAICompatible._call_model.__wrapped__)
    load = OpenAICompatible._load_unsafe

    def call(self: Any, prompt: Any, generations_this_call: int = 1) -> list[Any]:
        try:
            answers: list[Any] = ask(self, prompt, generations_this_call)
        except RefusedRequestError as error:
            note(errors, prompt, str(error))
            return [None]
        except (openai.OpenAIError, *unreadable) as error:
            note(errors, prompt, f"{type(error).__name__}: {error}")
            return [None]
        if answers == [None]:
            note(errors, prompt, "a 200 without a choice")
        return answers

    def load_type(self: Any) -> None:
        load(self)
        if endpoint_type == "completions":
            self.generator = self.client.completions
        self.generator.create = telling(self.generator.create, openai.APIStatusError)

    openai.OpenAI = functools.partial(openai.OpenAI, max_retries=0, timeout=timeout_s)
    OpenAICompatible._call_model = call
    OpenAICompatible._load_unsafe = load_type
    # garak asks the bare address whether anybody is there, which is no question of the evaluation.
    OpenAICompatible._validate_uri_connectivity = lambda _: None


def telling(create: Any, failure: Any) -> Any:
    """Return the library's function, with HTTP errors that garak does not know."""

    @functools.wraps(create)
    def created(**arguments: Any) -> Any:
        try:
            return create(**arguments)
        except failure as error:
            raise RefusedRequestError(f"HTTP {error.status_code}: {error.message}") from None

    return created


def note(errors: Path, prompt: Any, message: str) -> None:
    """Append one record; a line is written at once, so that processes do not mix."""
    record = {"prompt_hash": prompt_hash(prompt.turns), "message": message[:MESSAGE_CHARACTERS]}
    with errors.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def prompt_hash(turns: Any) -> str:
    """Return the SHA-256 of the conversation as JSON: [[role, text], …]."""
    text = json.dumps([[turn.role, turn.content.text] for turn in turns])
    return hashlib.sha256(text.encode()).hexdigest()
