"""Images of a throw-away harness, built by the real tools into folders of their own."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from evaldock.supply.build import build_images
from evaldock.supply.host import stop_own_engine
from evaldock.supply.lock import LockedImage
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


@dataclass(frozen=True, kw_only=True)
class Site:
    """One machine as far as evaldock can tell: its own data, cache and configuration."""

    folder: Path
    checkout: Path

    @contextmanager
    def active(self, more: Mapping[str, str] | None = None) -> Iterator[None]:
        """Make it the current one for as long as the block runs."""
        values = {
            "XDG_DATA_HOME": str(self.folder / "data"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            **(more or {}),
        }
        before = {name: os.environ.get(name) for name in values}
        os.environ.update(values)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})

    def build(self, *names: str, more: Mapping[str, str] | None = None) -> dict[str, LockedImage]:
        """Build the images here."""
        with self.active(more):
            return build_images(names, root=self.checkout, report=lambda _: None)

    @property
    def store(self) -> Path:
        return self.folder / "data" / "evaldock" / "images"


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


@contextmanager
def new_site(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[Site]:
    """Give a fresh site and take everything of it away again."""
    site = Site(folder=tmp_path_factory.mktemp("site"), checkout=checkout)
    try:
        yield site
    finally:
        with site.active():
            stop_own_engine()
        shutil.rmtree(site.folder, ignore_errors=True)


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
