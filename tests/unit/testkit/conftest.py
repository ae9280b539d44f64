"""Answer tables and a running endpoint, shared by the fake endpoint's tests."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint

GENERATE_COUNT = 20
CHOICE_COUNT = 20
KEY_NAME = "FAKE_ENDPOINT_TEST_KEY"
KEY = "not-a-secret"


def generate_line(number: int) -> dict[str, object]:
    """An item asked with "What is N plus N?"."""
    return {
        "id": f"gen-{number:03}",
        "match": f"What is {number} plus {number}?",
        "kind": "generate",
        "right": f"The sum is {2 * number}. #### {2 * number}",
        "wrong": f"The sum is {2 * number + 1}. #### {2 * number + 1}",
    }


def choice_line(number: int) -> dict[str, object]:
    """An item with choices of very different length, one the suffix of another."""
    choices = ["yes", "not yes", f"entry {number} " + "is a very long way round," * 20, "żółw 🐢", "7"]
    return {
        "id": f"choice-{number:03}",
        "match": f"Question: entry {number}?\nAnswer:",
        "kind": "choice",
        "choices": choices,
        "right": number % len(choices),
    }


@pytest.fixture(scope="session")
def write_table(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sequence[dict[str, object]]], Path]:
    """Writes lines to a new answer table."""

    def write(lines: Sequence[dict[str, object]]) -> Path:
        path = tmp_path_factory.mktemp("answers") / "table.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def shared_endpoint(
    write_table: Callable[[Sequence[dict[str, object]]], Path],
) -> Iterator[RunningEndpoint]:
    """One endpoint for all tests of the session; take `endpoint` instead, which resets it."""
    special: dict[str, object] = {
        "id": "special",
        "match": "Use the tool",
        "kind": "generate",
        "group": "special",
        "right": "No tool was offered.",
        "wrong": "No tool was offered?",
        "reasoning": "One two three four five.",
        "tool_call": {"name": "add", "arguments": {"a": 1}},
    }
    generate = write_table([generate_line(i) for i in range(GENERATE_COUNT)])
    choice = write_table([*(choice_line(i) for i in range(CHOICE_COUNT)), special])
    with running_endpoint(answers=[generate, choice], share=0.75, seed=7) as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(shared_endpoint: RunningEndpoint) -> RunningEndpoint:
    """A running endpoint without faults and with fresh counts."""
    shared_endpoint.reset(faults=[])
    return shared_endpoint
