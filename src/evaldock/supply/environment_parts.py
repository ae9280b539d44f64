"""The parts of an environment for `--engine host`, each made by the steps of the image's Dockerfile."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import uv

from evaldock.supply.context import copy_files, staged, staged_tools
from evaldock.supply.paths import cache_home
from evaldock.supply.recipes import Cookbook, Recipe, file_hashes, tools_hash
from evaldock.supply.steps import Steps
from evaldock_entrypoints.contract.errors import UsageError

PYTHON_VERSION = "3.11"  # of images/base, for which the locks were resolved
_QUERY_TIMEOUT_S = 60.0
_PASSED_ON = ("PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_IDENTITY = "import platform, sys; print(sys.executable, platform.python_version(), platform.machine())"
# Programs that compiling an engine needs, and the Debian packages that bring them.
_COMPILERS = {"g++": ("g++", "libc6-dev"), "gcc": ("gcc", "libc6-dev"), "strip": ("binutils",)}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One folder. target: where the image has it; "": what other parts are made from."""

    name: str
    target: str
    input_hash: str
    make: Callable[["Workshop", Path], None]
    programs: tuple[str, ...] = ()

    def missing_packages(self) -> list[str]:
        """Return the Debian packages of those programs that are not there."""
        absent = (program for program in self.programs if not shutil.which(program))
        return sorted({package for program in absent for package in _COMPILERS[program]})


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What the builds of one call share."""

    root: Path
    python: Path
    steps: Steps
    secrets: Path
    folder_of: Callable[[Part], Path]

    def run_tool(self, name: str, *argv: str, cwd: Path | None = None) -> None:
        """Run one of the scripts of images/tools as a build would."""
        self.run([str(staged_tools(self.root) / name), *argv], cwd=cwd)

    def run(self, argv: list[str], *, cwd: Path | None = None, **variables: str) -> None:
        """Run a build's command with the variables that stand for a build's mounts."""
        with tempfile.TemporaryDirectory(prefix="evaldock-home-") as home:
            ours = {
                "EVALDOCK_CACHE": str(cache_home() / "uv"),
                "EVALDOCK_PYTHON": str(self.python),
                "EVALDOCK_SECRETS": str(self.secrets),
                "EVALDOCK_TOOLS": str(staged_tools(self.root)),
                "HOME": home,
                "LANG": "C.UTF-8",
                "LC_ALL": "C.UTF-8",
                "PYTHONDONTWRITEBYTECODE": "1",
                "TZ": "UTC",
                "UV_LINK_MODE": "hardlink",  # cache and environments lie in the same file system
                "UV_VENV_RELOCATABLE": "1",  # a part is made beside its place
            }
            passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
            self.steps.run(argv, env=passed_on | ours | variables, cwd=cwd)


def find_python() -> Path:
    """Return a Python of the version that the locks are for; raises UsageError where there is none."""
    argv = [uv.find_uv_bin(), "python", "find", "--no-project", "--system", PYTHON_VERSION]
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=_QUERY_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise UsageError(
            f"engine host needs Python {PYTHON_VERSION}, which the locks are for, and there is none here",
            next_step=f"install Python {PYTHON_VERSION}, or use docker or podman",
        )
    return Path(done.stdout.strip()).resolve()


def parts_of(recipe: Recipe, root: Path, python: Path) -> list[Part]:
    """Return the parts of an image's environment, each after those that it is made from."""
    python_id = _identity(python)
    entrypoints = _entrypoints(Cookbook(root=root).recipe("entrypoints"), root, python_id)
    match recipe.kind:
        case "harness":
            environment = _locked(recipe, "/opt/harness", root, python_id)
            return [entrypoints, environment, _data(recipe, environment), _files(recipe)]
        case "backend" if "build-engine" in recipe.files:
            engine = _engine(recipe, root, python_id)
            return [entrypoints, engine, _locked(recipe, "/opt/backend", root, python_id, engine)]
        case "backend":
            return [entrypoints, _locked(recipe, "/opt/backend", root, python_id)]
        case _:
            return [entrypoints]


def _identity(python: Path) -> str:
    """Return what tells one interpreter from another."""
    argv = [str(python), "-I", "-c", _IDENTITY]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_QUERY_TIMEOUT_S, check=True)
    return done.stdout.strip()


def _entrypoints(recipe: Recipe, root: Path, python_id: str) -> Part:
    files = {path: file for path, file in recipe.files.items() if path != "Dockerfile"}

    def make(workshop: Workshop, folder: Path) -> None:
        workshop.run_tool("install-locked", str(folder), str(files["requirements.lock"]))
        with staged(files) as context:
            shutil.copytree(context / "src", folder / "src")
            shutil.copytree(context / "launchers", folder / "bin", dirs_exist_ok=True)
        (_site_packages(folder) / "evaldock.pth").write_text("../../../src\n", encoding="utf-8")
        workshop.run_tool("compile-python", str(folder / "src"))

    return _part("entrypoints", "/opt/evaldock", make, files, tools_hash(root), python_id)


def _locked(recipe: Recipe, target: str, root: Path, python_id: str, engine: Part | None = None) -> Part:
    """Return the part that holds exactly what requirements.lock lists, and an engine that was compiled."""
    lock = recipe.files["requirements.lock"]

    def make(workshop: Workshop, folder: Path) -> None:
        workshop.run_tool("install-locked", str(folder), str(lock))
        if engine is not None:
            shutil.copytree(workshop.folder_of(engine), _site_packages(folder), dirs_exist_ok=True)

    inputs = (tools_hash(root), python_id, engine.input_hash if engine else "")
    return _part(f"{recipe.name}.environment", target, make, {"requirements.lock": lock}, *inputs)


def _engine(recipe: Recipe, root: Path, python_id: str) -> Part:
    """Return the part with the packages that a backend's build-engine leaves in its folder."""
    kept = {"Dockerfile", "backend.yml", "requirements.lock"}
    files = {path: file for path, file in recipe.files.items() if path not in kept}

    def make(workshop: Workshop, folder: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="evaldock-engine-") as build_name:
            build = Path(build_name)
            copy_files(files, build)
            workshop.run_tool("install-locked", str(build / "env"), str(build / "build-requirements.lock"))
            workshop.run([str(build / "build-engine")], cwd=build, EVALDOCK_BUILD=build_name)
            for package in build.glob("*/__init__.py"):
                shutil.copytree(package.parent, folder / package.parent.name)

    programs = tuple(_COMPILERS)
    return _part(f"{recipe.name}.engine", "", make, files, tools_hash(root), python_id, programs=programs)


def _data(recipe: Recipe, environment: Part) -> Part:
    """Return the part that the harness's own data.py makes from donor wheels; empty without one."""
    files = _below(recipe, "data/")

    def make(workshop: Workshop, folder: Path) -> None:
        folder.mkdir()
        with staged(files) as build:
            (build / "wheels").mkdir()
            if "data.lock" in files:
                workshop.run_tool("fetch-wheels", "wheels", "data.lock", cwd=build)
            if "data.py" in files:
                python = str(workshop.folder_of(environment) / "bin" / "python")
                workshop.run([python, "data.py", str(build / "wheels"), str(folder)], cwd=build)

    return _part(f"{recipe.name}.data", "/opt/data", make, files, environment.input_hash)


def _files(recipe: Recipe) -> Part:
    files = _below(recipe, "files/")

    def make(_: Workshop, folder: Path) -> None:
        copy_files(files, folder)

    return _part(f"{recipe.name}.files", "/opt/harness-files", make, files)


def _below(recipe: Recipe, prefix: str) -> dict[str, Path]:
    return {path.removeprefix(prefix): file for path, file in recipe.files.items() if path.startswith(prefix)}


def _part(
    name: str,
    target: str,
    make: Callable[[Workshop, Path], None],
    files: Mapping[str, Path],
    *inputs: str,
    programs: tuple[str, ...] = (),
) -> Part:
    content = json.dumps([target, file_hashes(files), *inputs], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Part(name=name, target=target, input_hash=digest, make=make, programs=programs)


def _site_packages(folder: Path) -> Path:
    return folder / "lib" / f"python{PYTHON_VERSION}" / "site-packages"
