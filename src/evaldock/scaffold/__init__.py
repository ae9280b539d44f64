"""Folders to begin with: each is a whole one that works, copied under another name."""

import keyword
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from evaldock.registry import Registry
from evaldock_entrypoints.contract.errors import UsageError

_TEMPLATE = Path(__file__).parent / "harness"
_NAME, _MODULE = "tiny-harness", "tiny_harness"  # what the template calls itself
_FORM = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 40
_LEFT_OUT = ("__pycache__",)
_TAKEN = ("base",)  # images that stand in no catalogue


def new_harness(name: str, parent: Path, catalogue: Registry) -> Path:
    """Copy the harness to begin with into parent/name and return that folder; raises UsageError."""
    _refuse_name(name, catalogue)
    folder = parent / name
    if folder.exists() or folder.is_symlink():
        raise UsageError(
            f"{folder} exists already", where=str(parent), next_step="choose another name, or remove it"
        )
    if not parent.is_dir():
        raise UsageError(
            f"there is no folder {parent}", where="--into", next_step="make it first, or name another"
        )
    for source in _files(_TEMPLATE):
        target = folder / _renamed(str(source.relative_to(_TEMPLATE)), name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_renamed(source.read_text(encoding="utf-8"), name), encoding="utf-8")
        shutil.copymode(source, target)
    return folder


def module_name(name: str) -> str:
    """Return the name as Python spells it."""
    return name.replace("-", "_")


def _refuse_name(name: str, catalogue: Registry) -> None:
    if not _FORM.fullmatch(name) or len(name) > _LONGEST or keyword.iskeyword(name):
        raise UsageError(
            f'"{name}" cannot be the name of a harness',
            where="NAME",
            next_step=f"at most {_LONGEST} lower-case letters, digits and single hyphens, such as my-harness",
        )
    if name in _TAKEN or catalogue.image_name(name) is not None:
        owner = catalogue.image_name(name) or name
        raise UsageError(
            f'"{name}" is taken: it means the image {owner}',
            where="NAME",
            next_step="choose another; evaldock ls images lists those in use",
        )


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in _LEFT_OUT:
            yield from _files(path)
        elif path.is_file():
            yield path


def _renamed(text: str, name: str) -> str:
    return text.replace(_NAME, name).replace(_MODULE, module_name(name))
