"""Images of a throw-away harness, built by the real tools into folders of their own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.containers.supply.sites import Site, new_site

from evaldock.supply.paths import checkout_root

FRAMEWORK = """
framework: {name: tiny, version: "1.0", description: It's a $mall "1", source: "https://x", license: MIT}
phases: [{name: ask, argv: [/opt/harness/bin/python]}]
tasks: [{name: sums, description: adds, endpoint_types: [chat]}]
"""
DATA = """
import sys
from pathlib import Path

import six

Path(sys.argv[2], "manifest.json").write_text('{"entries": []}')
Path(sys.argv[2], "made-with").write_text(six.__version__)
"""
LOCK = "six==1.17.0 --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274\n"


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the real images/ and entrypoints/ and one throw-away harness."""
    root, copy = checkout_root(), tmp_path_factory.mktemp("checkout")
    for name in ("images", "entrypoints"):
        shutil.copytree(root / name, copy / name)
    harness = copy / "harnesses" / "tiny"
    harness.mkdir(parents=True)
    files = {"framework.yml": FRAMEWORK, "data.py": DATA, "requirements.lock": LOCK, "data.lock": LOCK}
    for name, text in files.items() | {("results.py", "# parses\n")}:
        (harness / name).write_text(text, encoding="utf-8")
    return copy


@pytest.fixture(scope="session")
def other_site(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[Site]:
    """A second machine that knows nothing of the first."""
    with new_site(tmp_path_factory, checkout) as made:
        yield made


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[Site]:
    """A site on which tests share what is built."""
    with new_site(tmp_path_factory, checkout) as made:
        yield made
