"""What each image is built from: recipes found by folder, and the hash over all of a recipe's inputs."""

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version as installed_version
from pathlib import Path

from evaldock.supply.apt import SUITE
from evaldock.supply.bootstrap import distro_name
from evaldock.supply.buildah import SOURCE_DATE_EPOCH
from evaldock.supply.catalogue import backend_labels, harness_labels
from evaldock.supply.lock import ImageKind
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.framework import load_framework

INPUT_HASH_LABEL = "io.evaldock.input-hash"

_SKIPPED_FOLDERS = {"__pycache__", "fixtures", "tests"}
_SKIPPED_SUFFIXES = {".pyc", ".md", ".in"}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One image: its build context as a mapping of context paths to files here, its parents and labels."""

    name: str
    kind: ImageKind
    version: str
    files: Mapping[str, Path]  # always with "Dockerfile"
    parents: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    build_args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Cookbook:
    """All recipes of a checkout. base: a public base image by digest, None for the bootstrapped one."""

    root: Path
    base: str | None = None

    def names(self) -> list[str]:
        """Return every image's name, parents first."""
        folders = {
            **_folders(self.root / "images", "backend.yml"),
            **_folders(self.root / "harnesses", "framework.yml"),
        }
        return ["base", "entrypoints", *sorted(folders)]

    def recipe(self, name: str) -> Recipe:
        """Return the recipe of this name; raises UsageError for a name without a folder."""
        if name == "base":
            return _base(self.root, self.base)
        if name == "entrypoints":
            return _entrypoints(self.root)
        if (folder := _folders(self.root / "images", "backend.yml").get(name)) is not None:
            return _backend(folder)
        if (folder := _folders(self.root / "harnesses", "framework.yml").get(name)) is not None:
            return _harness(self.root, folder)
        raise UsageError(f'there is no image "{name}"', next_step=f"choose among: {', '.join(self.names())}")

    def with_parents(self, names: list[str]) -> list[Recipe]:
        """Return the recipes of these images and of all they are built on, parents first."""
        wanted = {name: self.recipe(name) for name in names}
        for recipe in list(wanted.values()):
            wanted |= {parent: self.recipe(parent) for parent in recipe.parents if parent not in wanted}
        return sorted(wanted.values(), key=lambda recipe: (len(recipe.parents), recipe.name))


def input_hashes(recipes: list[Recipe], tools_hash: str) -> dict[str, str]:
    """Return each image's input hash (sha256:…); recipes come parents first, as with_parents gives them."""
    hashes: dict[str, str] = {}
    for recipe in recipes:
        inputs = {
            "args": dict(recipe.build_args),
            "epoch": SOURCE_DATE_EPOCH,
            "files": file_hashes(recipe.files),
            "labels": dict(recipe.labels),
            "parents": {parent: hashes[parent] for parent in recipe.parents},
            # The base is built without our tools, so a new uv does not bootstrap it again.
            "tools": tools_hash if recipe.parents else "",
        }
        hashes[recipe.name] = (
            "sha256:" + hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
        )
    return hashes


def tools_hash(root: Path) -> str:
    """Return the hash of what builds mount: uv's version and our scripts."""
    inputs = file_hashes(tool_files(root)) | {"uv": installed_version("uv")}
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def file_hashes(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the hash of each file's content and mode, by name."""
    return {name: _file_hash(file) for name, file in files.items()}


def tool_files(root: Path) -> dict[str, Path]:
    """Return the scripts that builds mount, by name."""
    return _tree(root / "images" / "tools")


def public_base(recipe: Recipe) -> str | None:
    """Return the public image that a recipe starts from; None where it is no base or a bootstrapped one."""
    distro = recipe.build_args.get("DISTRO", "")
    return distro if "@sha256:" in distro else None


def _folders(parent: Path, marker: str) -> dict[str, Path]:
    return {path.parent.name: path.parent for path in sorted(parent.glob(f"*/{marker}"))}


def _base(root: Path, base: str | None) -> Recipe:
    name = {} if base is None else {"org.opencontainers.image.base.name": base}
    return Recipe(
        name="base",
        kind="base",
        version=SUITE if base is None else base.rpartition("@sha256:")[2][:12],
        files=_tree(root / "images" / "base"),
        labels=_about(
            "evaldock base", "Debian with Python, an init and a user; runs under any uid", "see the packages"
        )
        | name,
        build_args={"DISTRO": base or distro_name()},
    )


def _entrypoints(root: Path) -> Recipe:
    project = tomllib.loads((root / "entrypoints" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    source = _tree(root / "entrypoints" / "evaldock_entrypoints")
    return Recipe(
        name="entrypoints",
        kind="entrypoints",
        version=project["version"],
        files=_tree(root / "images" / "entrypoints")
        | {f"src/evaldock_entrypoints/{path}": file for path, file in source.items()},
        parents=("base",),
        labels=_about("evaldock entrypoints", project["description"], project["license"]),
    )


def _backend(folder: Path) -> Recipe:
    backend = backend_labels(folder)
    return Recipe(
        name=folder.name,
        kind="backend",
        version=backend.version,
        files=_tree(folder),
        parents=("base", "entrypoints"),
        labels=_about(f"evaldock backend {folder.name}", backend.description, backend.licenses) | backend.own,
    )


def _harness(root: Path, folder: Path) -> Recipe:
    harness = harness_labels(load_framework(folder))
    tree = _tree(folder)
    if "requirements.lock" not in tree:
        raise UsageError(
            f"the harness {folder.name} has no lock file",
            where=str(folder / "requirements.lock"),
            next_step="make it: uv pip compile --generate-hashes --python-version 3.11 requirements.in",
        )
    return Recipe(
        name=folder.name,
        kind="harness",
        version=harness.version,
        files=_harness_context(tree) | {"Dockerfile": root / "images" / "harness" / "Dockerfile"},
        parents=("base", "entrypoints"),
        labels=_about(f"evaldock harness {folder.name}", harness.description, harness.licenses) | harness.own,
    )


def _harness_context(tree: Mapping[str, Path]) -> dict[str, Path]:
    """Sort a harness folder into the layers: what data is made from apart from what runs."""
    context = {"requirements.lock": tree["requirements.lock"]}
    for path, file in tree.items():
        context[f"files/{path}"] = file
        if Path(path).parts[0].startswith("data"):
            context[f"data/{path}"] = file
    return context


def _about(title: str, description: str, licenses: str) -> dict[str, str]:
    prefix = "org.opencontainers.image"
    values = {"title": title, "description": description, "licenses": licenses}
    return {f"{prefix}.{key}": value for key, value in values.items()}


def _tree(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in _files(folder)}


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "test_")) or path.name in _SKIPPED_FOLDERS:
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.suffix not in _SKIPPED_SUFFIXES:
            yield path


def _file_hash(path: Path) -> str:
    stat = path.stat()
    executable = "x" if stat.st_mode & 0o100 else "-"
    return executable + _content_hash(path, stat.st_mtime_ns, stat.st_size)


@cache
def _content_hash(path: Path, mtime_ns: int, size_bytes: int) -> str:  # noqa: ARG001  they key the cache
    return hashlib.sha256(path.read_bytes()).hexdigest()
