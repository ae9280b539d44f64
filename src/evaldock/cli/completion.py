"""`evaldock completion`, and what completes the arguments of other commands."""

from pathlib import Path

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_EVALDOCK_COMPLETE"  # what click makes of the program's name


def run_ids(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the ids of the runs in the output folder that begin so, newest first."""
    folder = Path(context.params.get("output_dir") or "results")
    found = folder.glob("*/run.yaml")  # no run is read: this is asked for at every key press
    names = sorted((path.parent.name for path in found), reverse=True)
    return [name for name in names if name.startswith(incomplete)]


def image_names(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of the images that can be built."""
    from evaldock.registry import load_registry

    registry = load_registry()
    names = ["base", *registry.images]
    return sorted(name for name in names if name.startswith(incomplete))


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes commands, options, run ids and image names in SHELL.

    \b
    evaldock completion bash > ~/.local/share/bash-completion/completions/evaldock
    eval "$(evaldock completion zsh)"
    evaldock completion fish > ~/.config/fish/completions/evaldock.fish
    """
    from evaldock.cli.main import evaldock

    script = get_completion_class(shell)
    assert script is not None  # click has all three
    click.echo(script(evaldock, {}, "evaldock", _VARIABLE).source())
