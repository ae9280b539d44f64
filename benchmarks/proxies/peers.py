"""The peers as their users get them: NeMo Evaluator in two generations from PyPI, haproxy from Debian.

All of it goes to evaldock's cache folder; nothing is installed on the machine. NeMo Evaluator 0.3.0 needs
Python 3.12, so it stands in a Debian 13 root file system, and so does haproxy.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.proxies.processes import BenchmarkError
from uv import find_uv_bin

from evaldock.supply.apt import read_apt_settings
from evaldock.supply.paths import cache_home

_NEMO_0_2_8 = ("nemo-evaluator==0.2.8", "flask==3.1.3", "requests==2.34.2", "waitress==3.0.2")
_NEMO_0_3_0 = (
    "nemo-evaluator==0.3.0",
    "aiohttp==3.14.5",
    "starlette==1.10.0",
    "uvicorn[standard]==0.54.0",
    "uvloop==0.23.0",
)
_DEBIAN = "debian-13"
_SUITE = "trixie"
_PACKAGES = ("ca-certificates", "haproxy", "python3")
_STARTERS = Path(__file__).parent / "starters"
_IN_ROOT = Path("opt/nemo")  # where NeMo Evaluator 0.3.0 is, seen from the root file system
_TIMEOUT_S = 900.0


def benchmarks_home() -> Path:
    """Return the folder for what benchmarks install and write."""
    folder = cache_home() / "benchmarks"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def work_folder() -> Iterator[Path]:
    """Yield a new folder on the disk that the caches are on; remove it afterwards."""
    with tempfile.TemporaryDirectory(dir=benchmarks_home(), prefix="work-") as folder:
        try:
            yield Path(folder)
        finally:
            shutil.rmtree(benchmarks_home() / _DEBIAN / "tmp" / Path(folder).name, ignore_errors=True)


def seen_inside(folder: Path) -> Path:
    """Return where a process in the Debian root writes what belongs to a folder of the work folder."""
    return Path("/tmp") / folder.parent.name / folder.name


def nemo_0_2_8(settings: str) -> list[str]:
    """Return the command that starts NeMo Evaluator 0.2.8's adapter with these settings (JSON)."""
    python = _installed("nemo-evaluator-0.2.8", _install_nemo_0_2_8) / "bin/python"
    return [str(python), str(_STARTERS / "nemo_0_2_8.py"), settings]


def nemo_0_3_0(settings: str) -> list[str]:
    """Return the command that starts NeMo Evaluator 0.3.0's adapter with these settings (JSON)."""
    root = debian_13()
    shutil.copy(_STARTERS / "nemo_0_3_0.py", root / "opt")
    return [*inside(root), "env", f"PYTHONPATH=/{_IN_ROOT}", "python3", "/opt/nemo_0_3_0.py", settings]


def debian_13() -> Path:
    """Return a Debian 13 root file system with haproxy, Python 3.13 and NeMo Evaluator 0.3.0."""
    if os.geteuid() != 0:
        raise BenchmarkError("what runs in a Debian 13 root file system needs root")
    return _installed(_DEBIAN, _install_debian_13)


def inside(root: Path) -> list[str]:
    """Return the start of a command that sees this folder as /; same network, same processors."""
    return ["unshare", "--root", str(root)]


def _install_nemo_0_2_8(folder: Path) -> None:
    # Of the very interpreter that our own adapter runs on here.
    _run([find_uv_bin(), "venv", "--quiet", "--python", sys.executable, "--relocatable", str(folder)])
    _run([find_uv_bin(), "pip", "install", "--quiet", "--python", str(folder / "bin/python"), *_NEMO_0_2_8])


def _install_debian_13(folder: Path) -> None:
    apt = read_apt_settings()
    argv = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(_PACKAGES)}"]
    argv += [f"--aptopt={option.rstrip(';')}" for option in apt.options]
    _run([*argv, _SUITE, str(folder), f"deb {apt.main_uri} {_SUITE} main"])
    argv = [find_uv_bin(), "pip", "install", "--quiet", "--only-binary", ":all:"]
    argv += ["--python-version", "3.13", "--python-platform", "x86_64-manylinux_2_28"]
    _run([*argv, "--target", str(folder / _IN_ROOT), *_NEMO_0_3_0])


def _installed(name: str, install: Callable[[Path], None]) -> Path:
    folder = benchmarks_home() / name
    if not folder.exists():
        sys.stderr.write(f"installing {name} into {folder}\n")
        partial = folder.with_name(f"{name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        install(partial)
        partial.rename(folder)
    return folder


def _run(argv: Sequence[str]) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except FileNotFoundError as error:
        raise BenchmarkError(f"{argv[0]} is not on this machine: install it first") from error
    if done.returncode != 0:
        raise BenchmarkError(f"{' '.join(argv[:3])} failed:\n{done.stderr.strip()[-2000:]}")
