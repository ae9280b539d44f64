"""The command line `serve`: the same flags for every backend, then the engine takes this process over."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
from pydantic import AliasChoices

import evaldock_entrypoints
from evaldock_entrypoints.command_line import run_command
from evaldock_entrypoints.contract.errors import EvaldockError
from evaldock_entrypoints.serve.backends import Launch, find_backend
from evaldock_entrypoints.serve.settings import ServeSettings, read_settings

PROGRAM = "serve"
BACKEND_PYTHON = "/opt/backend/bin/python"
FLAGS: tuple[tuple[str, Any, str], ...] = (
    ("model_path", str, "Model file or folder."),
    ("served_model_name", str, "Name that requests must use; default: from the path."),
    ("host", str, "Address to listen on; default 0.0.0.0."),
    ("port", int, "Port to listen on; default 8080."),
    ("max_model_len", int, "Longest prompt plus answer in tokens; default: the model's, at most 4096."),
    ("max_batch_size", int, "Most sequences computed together; default 16."),
    ("threads", int, "Processor threads; default: all that this process may use."),
    ("kv_cache_mib", int, "Memory for the key-value cache in MiB; whole sequences only. Default 384."),
    ("queue_bound", int, "Sequences that may wait before requests are answered 429; default 1024."),
    ("tensor_parallelism", int, "Processors per layer."),
    ("pipeline_parallelism", int, "Stages of layers."),
    ("context_parallelism", int, "Parts of a sequence."),
    ("expert_parallelism", int, "Groups of experts."),
    ("data_parallelism", int, "Copies of the model in one server."),
    ("replicas", int, "Servers behind one address."),
    ("num_nodes", int, "Machines."),
    ("gpu_memory_utilization", float, "Share of each GPU's memory."),
    ("dtype", str, "Precision of the computation."),
    ("quantization", str, "Method of quantization."),
    ("cuda_graphs", bool, "Record kernels once."),
    ("flash_decoding", bool, "Split long contexts while generating."),
)


def _flags(command: Callable[..., None]) -> Callable[..., None]:
    for name, kind, text in reversed(FLAGS):
        spellings = [f"--{one.replace('_', mark)}" for one in _names(name) for mark in "_-"]
        command = click.option(*dict.fromkeys(spellings), name, type=kind, help=text)(command)
    return command


def _names(field: str) -> list[str]:
    """Return the field's name and its aliases in the contract."""
    alias = ServeSettings.model_fields[field].validation_alias
    return [str(one) for one in alias.choices] if isinstance(alias, AliasChoices) else [field]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@_flags
@click.option("--config", type=click.Path(path_type=Path), help="YAML document; its deployment block counts.")
@click.option("--dry_run", "--dry-run", is_flag=True, help="Print the engine's command line as JSON.")
def serve(config: Path | None, dry_run: bool, **flags: Any) -> None:
    """Serve a model behind an OpenAI-compatible API with this image's backend.

    \b
    serve --model_path /models/m.gguf --served_model_name m --port 8080
    """
    backend = find_backend(os.environ.get("EVALDOCK_BACKEND"))
    python = os.environ.get("EVALDOCK_BACKEND_PYTHON", BACKEND_PYTHON)
    launch = backend.launch(read_settings(config, flags), python)
    if dry_run:
        click.echo(json.dumps({"argv": launch.argv, "environment": launch.environment}, indent=2))
        return
    _become(launch)


def _become(launch: Launch) -> None:
    """Replace this process by the engine, so that signals and the exit code are the engine's own."""
    source = Path(evaldock_entrypoints.__file__).parents[1]
    environment = {**os.environ, **launch.environment, "PYTHONPATH": str(source)}
    try:
        os.execve(launch.argv[0], launch.argv, environment)
    except OSError as error:
        raise EvaldockError(
            f"cannot start the engine: {error.strerror}",
            where=launch.argv[0],
            next_step="this image lacks its backend; build it again: evaldock build",
        ) from error


def main() -> NoReturn:
    """Run the command line and exit with the contract's code."""
    run_command(serve, sys.argv[1:], PROGRAM)


if __name__ == "__main__":
    main()
