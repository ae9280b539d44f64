"""Environments on this machine in place of images, from the same locks and files, for `--engine host`."""

import fcntl
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from evaldock.pins import Origin
from evaldock.supply.environment_parts import Part, Workshop, find_python, parts_of
from evaldock.supply.host import ensure_packages
from evaldock.supply.index import read_index_settings
from evaldock.supply.paths import cache_home, checkout_root
from evaldock.supply.recipes import Cookbook, Recipe
from evaldock.supply.secrets import local_secrets
from evaldock.supply.steps import Report, Steps
from evaldock_entrypoints.contract.errors import NotBuiltError, UsageError

ORIGIN: Origin = "host environment"
_DRAFT = ".draft-"


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What stands in for one image. folders: a path of the image → the folder that holds the same here."""

    name: str
    backend: str | None  # of a backend's image: its name
    input_hash: str  # sha256:… over all that the folders were made from
    folders: Mapping[str, Path]


def environments_home() -> Path:
    """Return the folder of all environments; a cache, safe to delete while no run uses it."""
    return cache_home() / "environments"


@contextmanager
def environments_in_use() -> Iterator[None]:
    """Keep `remove_environments` from taking anything away for as long as the block runs."""
    with _locked("use", fcntl.LOCK_SH):
        yield


def remove_environments() -> int:
    """Remove all environments and return the bytes freed; raises UsageError while a run uses them."""
    if not environments_home().is_dir():
        return 0
    try:
        with _locked("use", fcntl.LOCK_EX | fcntl.LOCK_NB), _locked("make", fcntl.LOCK_EX):
            before = shutil.disk_usage(environments_home()).free
            for folder in filter(Path.is_dir, environments_home().iterdir()):
                _remove(folder)
            return max(shutil.disk_usage(environments_home()).free - before, 0)
    except BlockingIOError as error:
        raise UsageError(
            "a run on engine host uses the environments",
            where=str(environments_home()),
            next_step="wait for its end, or stop it",
        ) from error


def make_environments(names: Iterable[str], *, report: Report) -> dict[str, Environment]:
    """Make what is missing of these images' environments and return them by name.

    Raises UsageError without a checkout, compiler or the right Python, NotBuiltError for an image that only
    containers can run, ExecutionError when a build fails.
    """
    python = find_python()
    root = _checkout()
    wanted = {name: (recipe, parts_of(recipe, root, python)) for name, recipe in _recipes(root, names)}
    missing = [part for _, parts in wanted.values() for part in parts if not _folder(part).is_dir()]
    if missing:
        _make(missing, root, python, report)
    return {name: _environment(recipe, parts) for name, (recipe, parts) in wanted.items()}


def _recipes(root: Path, names: Iterable[str]) -> Iterator[tuple[str, Recipe]]:
    cookbook = Cookbook(root=root)
    known = cookbook.names()
    for name in names:
        if name not in known:
            raise NotBuiltError(f"{name} without an image (engine host)", where="execution.engine: host")
        yield name, cookbook.recipe(name)


def _make(missing: Iterable[Part], root: Path, python: Path, report: Report) -> None:
    log = cache_home() / "logs" / time.strftime("environments-%Y%m%dT%H%M%S.log")
    with _locked("make", fcntl.LOCK_EX), local_secrets(read_index_settings()) as secrets:
        for stale in environments_home().glob(f"{_DRAFT}*"):  # of a build that was killed: we hold the lock
            shutil.rmtree(stale, ignore_errors=True)
        steps = Steps(log_path=log, report=report)
        workshop = Workshop(root=root, python=python, steps=steps, secrets=secrets, folder_of=_folder)
        for part in missing:
            if not _folder(part).is_dir():  # another process may have made it while we waited
                _ensure_programs(part, report)
                _make_part(part, workshop)


def _ensure_programs(part: Part, report: Report) -> None:
    """Install the Debian packages of the programs that a part's build needs and that are absent."""
    packages = part.missing_packages()
    if packages:
        ensure_packages(packages, report=report)


def _make_part(part: Part, workshop: Workshop) -> None:
    """Make a part beside its place and move it there in one step."""
    beside = tempfile.TemporaryDirectory(prefix=_DRAFT, dir=environments_home(), ignore_cleanup_errors=True)
    with beside as draft, workshop.steps.step(f"environment {part.name}"):
        folder = Path(draft) / "part"
        part.make(workshop, folder)
        folder.chmod(0o755)
        folder.rename(_folder(part))


def _environment(recipe: Recipe, parts: Iterable[Part]) -> Environment:
    return Environment(
        name=recipe.name,
        backend=recipe.name if recipe.kind == "backend" else None,
        input_hash=_input_hash(parts),
        folders={part.target: _folder(part) for part in parts if part.target},
    )


def _folder(part: Part) -> Path:
    return environments_home() / f"{part.name}-{part.input_hash[:16]}"


def _input_hash(parts: Iterable[Part]) -> str:
    inputs = {part.name: part.input_hash for part in parts}
    return "sha256:" + hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _checkout() -> Path:
    try:
        return checkout_root()
    except UsageError as error:
        raise UsageError(
            "engine host makes its environments from evaldock's source checkout, and this evaldock is "
            "installed without it",
            where=error.where,
            next_step="run evaldock inside a checkout of its repository, or use docker or podman",
        ) from error


def _remove(folder: Path) -> None:
    """Remove a folder that nobody may find half removed."""
    stale = folder.with_name(f"{_DRAFT}{folder.name}")
    folder.rename(stale)
    shutil.rmtree(stale, ignore_errors=True)


@contextmanager
def _locked(what: str, kind: int) -> Iterator[None]:
    """Hold a lock of this cache: `make` (one process at a time) or `use` (runs share it)."""
    environments_home().mkdir(parents=True, exist_ok=True)
    with (environments_home() / f".{what}.lock").open("w", encoding="utf-8") as file:
        fcntl.flock(file, kind)
        yield
