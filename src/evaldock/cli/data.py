"""`evaldock data`: benchmark data that images do not carry."""

from pathlib import Path

import click

from evaldock.benchmark_data import USUAL_TOKEN_NAME, refuse_changed
from evaldock.benchmark_data import pull as pull_data
from evaldock.registry import load_registry
from evaldock_entrypoints.data.hub import DEFAULT_REVISION

_FOLDER = click.Path(path_type=Path)


@click.group()
def data() -> None:
    """Fetch and verify benchmark data that images do not carry.

    \b
    evaldock data pull mmlu_pro --into data
    evaldock data verify data
    """


@data.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--into", type=_FOLDER, default=Path("data"), show_default=True, help="Folder to put it in.")
@click.option(
    "--hf-endpoint",
    "address",
    envvar="HF_ENDPOINT",
    show_envvar=True,
    default="https://huggingface.co",
    show_default=True,
    help="The hub, or a site's mirror of it.",
)
@click.option(
    "--hf-token-name", default=USUAL_TOKEN_NAME, show_default=True, help="Variable with the hub's token."
)
@click.option("--revision", default=DEFAULT_REVISION, show_default=True, help="Branch, tag or commit.")
def pull(names: tuple[str, ...], into: Path, address: str, hf_token_name: str, revision: str) -> None:
    """Fetch the data of tasks, or data sets by NAME; then name the folder as data.path.

    \b
    evaldock data pull mmlu_pro --into data
    evaldock data pull openai/gsm8k --hf-endpoint https://hub.example --into data
    """
    fetched = pull_data(
        list(names),
        into,
        registry=load_registry(),
        address=address,
        token_name=hf_token_name,
        revision=revision,
        report=lambda text: click.echo(f"evaldock: {text}", err=True),
    )
    for name in fetched:
        click.echo(str(into / name))
    click.echo(f"evaldock: use it with -o data.path={into.absolute()}", err=True)


@data.command()
@click.argument("folder", type=_FOLDER, default=Path("data"))
def verify(folder: Path) -> None:
    """Compare the files of a data FOLDER with the hashes in its manifest.

    \b
    evaldock data verify data
    """
    click.echo(f"{refuse_changed(folder)} files are as the manifest says")
