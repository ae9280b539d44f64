"""The command `evaldock-fake-endpoint`."""

import os
import socket
from pathlib import Path
from typing import get_args
from urllib.parse import quote

import click
import orjson

from evaldock.testkit.fake_endpoint.app import FakeEndpoint, Settings
from evaldock.testkit.fake_endpoint.errors import FakeEndpointError
from evaldock.testkit.fake_endpoint.faults import read_rules
from evaldock.testkit.fake_endpoint.generation import Model
from evaldock.testkit.fake_endpoint.logprobs import LogprobsBug
from evaldock.testkit.fake_endpoint.server import bind, serve
from evaldock.testkit.fake_endpoint.table import AnswerTable, read_items

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Port; 0 takes a free one.")
@click.option("--uds", type=click.Path(path_type=Path), help="Listen on this Unix socket instead.")
@click.option("--model", "model_name", default="fake-model", help="The one model id that is served.")
@click.option("--answers", type=_FILE, multiple=True, help="Answer table (JSONL); may be repeated.")
@click.option("--share", default=0.75, help="Share of each table's items that is answered right.")
@click.option("--seed", default=42, help="Seed of the choice of right items and of the faults.")
@click.option("--latency_ms", default=0.0, help="Time to wait before each answer.")
@click.option("--slots", type=click.IntRange(1), help="Answers made at a time; others wait in order.")
@click.option("--api_key_name", help="Environment variable with the key that clients must send.")
@click.option("--faults", help="Fault rules: a YAML or JSON file, or inline JSON.")
@click.option(
    "--logprobs_bug", default="none", type=click.Choice(get_args(LogprobsBug)), help="A broken server's way."
)
@click.option("--until_stdin_ends", is_flag=True, help="Stop when standard input is closed.")
def main(
    *,
    host: str,
    port: int,
    uds: Path | None,
    model_name: str,
    answers: tuple[Path, ...],
    share: float,
    seed: int,
    latency_ms: float,
    slots: int | None,
    api_key_name: str | None,
    faults: str | None,
    logprobs_bug: LogprobsBug,
    until_stdin_ends: bool,
) -> None:
    """Serve a seeded, deterministic OpenAI-compatible endpoint with known answers.

    Prints one JSON line {"url", "port", "pid"} once it answers, then serves until SIGTERM or Ctrl-C.
    """
    try:
        table = AnswerTable(read_items(answers), share=share, seed=seed)
        settings = Settings(
            seed=seed,
            latency_ms=latency_ms,
            slots=slots,
            api_key=_api_key(api_key_name),
            rules=read_rules(faults) if faults else (),
        )
        listener = bind(host, port, uds)
    except FakeEndpointError as error:
        click.echo(f"evaldock-fake-endpoint: error: {error}", err=True)
        raise SystemExit(error.exit_code) from error
    app = FakeEndpoint(Model(name=model_name, table=table, logprobs_bug=logprobs_bug), settings)
    try:
        serve(app, listener, started=lambda: _announce(listener, uds), until_stdin_ends=until_stdin_ends)
    finally:
        if uds is not None:
            uds.unlink(missing_ok=True)


def _api_key(name: str | None) -> str | None:
    if name is None:
        return None
    value = os.environ.get(name)
    if not value:
        raise FakeEndpointError(f"--api_key_name: the environment variable {name} is not set or is empty")
    return value


def _announce(listener: socket.socket, uds: Path | None) -> None:
    if uds is not None:
        url, port = f"http+unix://{quote(str(uds), safe='')}", None
    else:
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    click.echo(orjson.dumps({"url": url, "port": port, "pid": os.getpid()}))
