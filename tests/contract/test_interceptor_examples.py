"""The examples of interceptors: each can be planned, and the pages show them word for word."""

import re
import textwrap
from pathlib import Path

import pytest
from tests.kit.plans import plan_of_file

from evaldock.supply.paths import checkout_root
from evaldock_entrypoints.contract.built_in_interceptors import BUILT_IN

ROOT = checkout_root()
FOLDER = ROOT / "examples" / "interceptors"
EXAMPLES = sorted(FOLDER.glob("*.yaml"))
PAGES = sorted([*(ROOT / "docs" / "interceptors").glob("*.md"), *(ROOT / "docs" / "recipes").glob("*.md")])
BLOCK = re.compile(r"^```(yaml|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_every_interceptor_has_an_example_and_a_page_that_the_index_names() -> None:
    index = (ROOT / "docs" / "interceptors" / "index.md").read_text(encoding="utf-8")
    for name in BUILT_IN:
        assert FOLDER / f"{name}.yaml" in EXAMPLES
        assert ROOT / "docs" / "interceptors" / f"{name}.md" in PAGES
        assert f"[{name}]({name}.md)" in index


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_can_be_run_and_none_of_it_is_without_effect(example: Path) -> None:
    plan = plan_of_file(example)
    assert plan.stops == ()
    assert plan.notes == ()
    assert plan.adapter is not None
    (task,) = plan.adapter.settings.tasks.values()
    assert example.stem in {step.name for step in task.target.interceptors} | {
        "flat_spelling",
        "own_interceptor",
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_what_a_page_shows_stands_in_an_example(page: Path) -> None:
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks
    documents = [path.read_text(encoding="utf-8") for path in EXAMPLES]
    code = (FOLDER / "shout.py").read_text(encoding="utf-8")
    for language, block in blocks:
        found = [code] if language == "python" else documents
        shown = block if language == "python" else textwrap.indent(block, "    ")
        assert any(shown in text for text in found), block
