"""A new harness folder: its name, what stands in it, and that its own test passes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.kit.cli import evaldock

from evaldock.registry import load_registry
from evaldock.scaffold import new_harness
from evaldock.supply.paths import checkout_root
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.framework import load_framework

pytestmark = pytest.mark.slow  # starts processes, or waits


def test_a_new_folder_bears_its_own_name_everywhere(tmp_path: Path) -> None:
    folder = new_harness("my-sums", tmp_path, load_registry())
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert load_framework(folder).name == "my-sums"
    assert {path.name for path in files} >= {
        *("framework.yml", "requirements.in", "requirements.lock", "data.py", "results.py", "README.md"),
        *("ask.py", "test_my_sums.py"),
    }
    assert not [path for path in files if "tiny" in str(path.relative_to(tmp_path))]
    assert not [path for path in files if "tiny" in path.read_text(encoding="utf-8")]


def test_its_own_test_passes(tmp_path: Path) -> None:
    folder = new_harness("my-sums", tmp_path, load_registry())
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--import-mode=importlib",
        str(folder),
    ]
    ended = subprocess.run(
        argv, cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize(
    "name",
    ["", "My-Sums", "my_sums", "-sums", "sums-", "a--b", "1st", "../x", "a/b", "x" * 41, "class", "a\n"],
)
def test_a_name_that_cannot_be_a_folder_an_image_and_a_module_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        new_harness(name, tmp_path, load_registry())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["lm-eval", "llamacpp", "entrypoints", "base"])
def test_a_name_that_means_an_image_already_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is taken"):
        new_harness(name, tmp_path, load_registry())


def test_a_folder_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "my-sums").mkdir()
    ended = evaldock("new", "harness", "my-sums", "--into", str(tmp_path), cwd=tmp_path)
    assert ended.code == 2
    assert "exists already" in ended.err
    assert list((tmp_path / "my-sums").iterdir()) == []


def test_the_command_says_where_the_folder_is_and_what_comes_next(tmp_path: Path) -> None:
    ended = evaldock("new", "harness", "my-sums", "--into", str(tmp_path), cwd=tmp_path)
    assert (ended.code, ended.out) == (0, f"{tmp_path / 'my-sums'}\n")
    assert "evaldock conformance my-sums" in ended.err


def test_the_template_passes_for_a_folder_of_harnesses() -> None:
    template = checkout_root() / "src" / "evaldock" / "scaffold" / "harness"
    real = checkout_root() / "harnesses" / "human-eval"
    shared = {"framework.yml", "requirements.in", "requirements.lock", "data.py", "results.py", "README.md"}
    assert all((folder / name).is_file() for folder in (template, real) for name in shared)
