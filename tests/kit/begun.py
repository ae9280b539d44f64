"""A copy of this checkout in which a harness is begun and built, on a store of images of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.kit.cli import Ended, evaldock

from evaldock.supply.lock import read_lock
from evaldock.supply.paths import checkout_root, data_home

NAME = "begun"
TASK = f"{NAME}.{NAME}-sums"
REPOSITORY = f"localhost/evaldock/{NAME}"  # as podman calls it


@dataclass(frozen=True, kw_only=True)
class Begun:
    """The copy, and the environment in which its own code runs and finds its own images."""

    checkout: Path
    env: Mapping[str, str]

    def evaldock(self, *argv: str, cwd: Path | None = None) -> Ended:
        return evaldock(*argv, cwd=cwd or self.checkout, env=self.env)

    def run(self, *argv: str) -> str:
        """Return what a program of the copy prints; raises CalledProcessError where it fails."""
        environ = os.environ | self.env
        done = subprocess.run(
            argv, cwd=self.checkout, env=environ, capture_output=True, text=True, timeout=300, check=True
        )
        return done.stdout

    @property
    def image_id(self) -> str:
        """The ID of the harness's image, by which an engine knows it."""
        lock = Path(self.env["XDG_DATA_HOME"]) / "evaldock" / "images.lock"
        return read_lock(lock).images[NAME].image_id

    def changed(self) -> list[str]:
        """Return the paths that git calls changed or new, of a folder that is new the folder."""
        return [line[3:] for line in self.run("git", "status", "--porcelain").splitlines()]


def begin(folder: Path) -> Begun:
    """Copy the checkout, make the harness and the generated files, and build its image."""
    begun = _copied(folder)
    ended = begun.evaldock("new", "harness", NAME)
    assert ended.code == 0, ended.err
    begun.run(sys.executable, "-m", "scripts.generate")
    ended = begun.evaldock("build", NAME)
    assert ended.code == 0, ended.err
    return begun


def _copied(folder: Path) -> Begun:
    checkout = folder / "checkout"
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(listed, cwd=checkout_root(), capture_output=True, text=True, timeout=60, check=True)
    for name in filter(None, done.stdout.split("\0")):
        source = checkout_root() / name
        if source.is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, checkout / name)
    shutil.copytree(data_home(), folder / "data" / "evaldock", copy_function=_linked)
    paths = os.pathsep.join(map(str, (checkout / "src", checkout / "entrypoints")))
    env = {
        "PYTHONPATH": paths,
        "PYTHONDONTWRITEBYTECODE": "1",
        "XDG_DATA_HOME": str(folder / "data"),
        **{
            f"GIT_{who}_{what}": "t@example.org"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }
    begun = Begun(checkout=checkout, env=env)
    begun.run(sys.executable, "-m", "scripts.generate")
    for argv in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message=as it is")):
        begun.run("git", *argv)
    return begun


def _linked(source: str, target: str) -> None:
    """Link a file of the store, which replaces files whole and changes none; else copy it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
