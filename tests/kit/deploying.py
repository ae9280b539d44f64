"""Runs `evaldock deploy` beside a test."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def deploying(folder: Path, model: Path, port: int, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command in the background; whatever happens in the block, it is ended."""
    settings = {"type": "llamacpp", "model_path": model, "port": port, "max_model_len": 1024}
    overrides = [part for key, value in settings.items() for part in ("-o", f"deployment.{key}={value}")]
    code = "from evaldock.cli.main import main; main()"
    with (folder / "stderr").open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "deploy", *overrides, *argv],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=60)


def first_line(process: subprocess.Popen[str]) -> str:
    stream: IO[str] | None = process.stdout
    assert stream is not None
    return stream.readline().strip()
