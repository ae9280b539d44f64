"""Shell-like strings as argument lists, where no shell is needed to read them."""

import re
import shlex

from evaldock_entrypoints.contract.errors import UsageError

_EXPANDED = re.compile(r"`|\$(?!\{)")  # ${…} is an interpolation of the document


def argv_of(text: str, where: str) -> list[str]:
    """Split the text as a shell would; raises UsageError where a shell would do more than split it."""
    lexer = shlex.shlex(text.replace("\\\n", " ").strip(), posix=True, punctuation_chars=";|&<>()")
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError as error:
        raise _refusal(str(error).lower(), where) from error
    operators = [word for word in words if word and not set(word) - set(";|&<>()")]
    if operators or _EXPANDED.search(text) or "\n" in text.replace("\\\n", " ").strip():
        raise _refusal("it needs a shell", where)
    return words


def _refusal(why: str, where: str) -> UsageError:
    return UsageError(
        f"the arguments cannot be taken as a list: {why}",
        where=where,
        next_step='write a list, one argument each: ["--max-model-len", "8192"]',
    )
