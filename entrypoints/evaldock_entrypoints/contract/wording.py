"""What a library's exception says, in one line of our own words."""

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_SHOWN = 3


def reason(error: Exception) -> str:
    """Return what is wrong: keys and messages of pydantic's errors, YAML's problem with its line."""
    if isinstance(error, ValidationError):
        details = error.errors(include_url=False, include_input=False)
        more = f" (and {len(details) - _SHOWN} more)" if len(details) > _SHOWN else ""
        return "; ".join(map(_in_words, details[:_SHOWN])) + more
    if isinstance(error, OSError):
        return error.strerror or str(error)
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    return f"malformed YAML in line {mark.line + 1}: {problem}" if problem and mark else str(error)


def _in_words(detail: ErrorDetails) -> str:
    key = ".".join(map(str, detail["loc"]))
    if detail["type"] == "extra_forbidden":
        return f'unknown key "{key}"'
    message = detail["msg"].removeprefix("Value error, ")
    return f"{key}: {message[:1].lower()}{message[1:]}" if key else message
