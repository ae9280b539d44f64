"""The generated reference: fresh, and it names every command, option and key."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from scripts.reference.commands import described
from scripts.reference.pages import pages, stale

from evaldock.cli.main import evaldock
from evaldock.supply.paths import checkout_root
from evaldock_entrypoints.run_eval.cli import run_eval
from evaldock_entrypoints.serve.cli import serve

PAGES = pages()


@pytest.mark.parametrize("name", PAGES)
def test_reference_is_fresh(name: str) -> None:
    path = checkout_root() / name
    assert path.is_file(), "run `make generate`"
    assert path.read_text(encoding="utf-8") == PAGES[name], "run `make generate`"


def test_no_other_file_stands_in_the_folders() -> None:
    assert stale(checkout_root()) == []


def contexts(
    name: str, command: click.Command, parent: click.Context | None = None
) -> Iterator[click.Context]:
    """Yield every command of a tree, groups too."""
    context = click.Context(command, info_name=name, parent=parent)
    yield context
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from contexts(child, found, context)


COMMANDS = [
    *contexts("evaldock", evaldock),
    *contexts("run_eval", run_eval),
    *contexts("serve", serve),
]


@pytest.mark.parametrize("context", COMMANDS, ids=lambda context: context.command_path.replace(" ", "-"))
def test_every_command_has_an_example_that_begins_with_it(context: click.Context) -> None:
    _, examples = described(context.command)
    assert any(line.startswith(context.command_path) for line in examples.splitlines()), context.command_path


@pytest.mark.parametrize("context", COMMANDS, ids=lambda context: context.command_path.replace(" ", "-"))
def test_every_option_says_what_it_means(context: click.Context) -> None:
    options = [one for one in context.command.params if isinstance(one, click.Option)]
    assert [option.opts for option in options if not option.help] == []


def test_each_page_holds_what_its_source_says() -> None:
    texts = {Path(name).name: text for name, text in PAGES.items()}
    assert "## evaldock ls runs" in texts["cli.md"]
    assert "`deployment.tensor_parallelism` (also `tensor_parallel_size`" in texts["document.md"]
    assert "[lm-eval](../harnesses/lm-eval.md)" in texts["tasks.md"]
    assert "`num_fewshot`" in texts["lm-eval.md"]
