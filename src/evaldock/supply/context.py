"""Build contexts: exactly the files that the input hash covers, with fixed modes and times."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import uv

from evaldock.supply.buildah import SOURCE_DATE_EPOCH
from evaldock.supply.paths import cache_home
from evaldock.supply.recipes import tool_files, tools_hash


@contextmanager
def staged(files: Mapping[str, Path]) -> Iterator[Path]:
    """Copy the files into a temporary context folder for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="evaldock-context-") as folder:
        (Path(folder) / "data").mkdir(mode=0o755)  # a harness without data.py still has the folder copied
        copy_files(files, Path(folder))
        yield Path(folder)


def staged_tools(root: Path) -> Path:
    """Return a folder with uv and our build scripts, to be mounted into builds."""
    folder = cache_home() / "tools" / tools_hash(root)[:12]
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            complete = Path(temporary) / "tools"
            copy_files(tool_files(root) | {"uv": Path(uv.find_uv_bin())}, complete)
            complete.rename(folder)
    return folder


def copy_files(files: Mapping[str, Path], folder: Path) -> None:
    """Copy files into a folder under their names, with fixed modes and times."""
    for name, source in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
        os.utime(path, (SOURCE_DATE_EPOCH, SOURCE_DATE_EPOCH))
