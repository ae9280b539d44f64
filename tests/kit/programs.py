"""Programs that a test puts on PATH."""

import os
import shutil
from pathlib import Path

import pytest


def fake_program(folder: Path, name: str, script: str) -> Path:
    """Write a shell script that stands for a program."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def first_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let programs of this folder stand before all others."""
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def only_programs(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Leave nothing on PATH but the real programs of these names and what the folder holds already."""
    folder.mkdir(exist_ok=True)
    for name in names:
        real = shutil.which(name)
        assert real
        (folder / name).symlink_to(real)
    monkeypatch.setenv("PATH", str(folder))
