"""Errors that a person meets."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "entrypoints/evaldock_entrypoints").rglob("*.py")])
OURS = {
    "UsageError",
    "EndpointError",
    "HarnessError",
    "IncompleteError",
    "PinError",
    "ExecutionError",
    "InterruptedRunError",
}


def errors_in(source: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OURS:
            yield node


def silent_in(source: str) -> list[int]:
    """Return the lines of errors that do not say what to do next."""
    found = errors_in(source)
    return [error.lineno for error in found if "next_step" not in {word.arg for word in error.keywords}]


def test_every_error_says_what_to_do_next() -> None:
    silent = {str(path): silent_in(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert {path: lines for path, lines in silent.items() if lines} == {}


def test_an_error_without_a_next_step_is_seen() -> None:
    assert silent_in('raise UsageError("no", where="here")') == [1]
