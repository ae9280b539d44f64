"""Start RULER's call_api.py with a client that gives up: ask.py ERRORS_FILE OPTIONS….

RULER asks again after any failure, without end. Here a question is asked again only where no answer came, and
one that has failed for good is left out of the answers and noted in ERRORS_FILE by the hash of its prompt.
"""

import hashlib
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import requests
import tenacity

ATTEMPTS = 3
MESSAGE_CHARACTERS = 300
UNANSWERED = (requests.Timeout, requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
UNREADABLE = (LookupError, TypeError, ValueError)  # a 200 without a choice


def give_up(wrappers: Any, errors: Path) -> None:
    """Change RULER's client so that it does."""
    once = wrappers.NVClient.send_request.__wrapped__
    client = wrappers.GenericOAIURLClient
    call = client.__call__

    def answer(self: Any, prompt: str) -> Any:
        try:
            return call(self, prompt)
        except (requests.RequestException, *UNREADABLE) as error:
            note(errors, prompt, error)
            return {"text": []}  # RULER's own word for no answer: it writes no line

    only = tenacity.retry_if_exception_type(UNANSWERED)
    stop = tenacity.stop_after_attempt(ATTEMPTS)
    wrappers.NVClient.send_request = tenacity.retry(retry=only, stop=stop, reraise=True)(once)
    client.__call__ = answer


def note(errors: Path, prompt: str, error: Exception) -> None:
    """Append one record; a line is written at once, so that threads do not mix."""
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, requests.HTTPError):
        message = f"HTTP {error.response.status_code}: {error.response.text}"
    record = {
        "prompt_hash": hashlib.sha256(prompt.encode()).hexdigest(),
        "message": message[:MESSAGE_CHARACTERS],
    }
    with errors.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def main(errors: Path, options: list[str]) -> None:
    """Hand over to call_api.py, which finds its own modules beside it."""
    import long_context_eval.pred

    folder = Path(str(long_context_eval.pred.__file__)).parent
    sys.path[0] = str(folder)  # in place of our own
    import client_wrappers

    give_up(client_wrappers, errors)
    sys.argv = [str(folder / "call_api.py"), *options]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
