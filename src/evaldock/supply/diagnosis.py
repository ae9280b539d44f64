"""What `evaldock doctor` looks at: one small function per finding."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import docker

from evaldock.supply.build import BUILD_PACKAGES
from evaldock.supply.host import find_engine, missing_packages
from evaldock.supply.lock import read_lock
from evaldock.supply.paths import cache_home
from evaldock_entrypoints.contract.errors import EvaldockError

_DISK_BYTES = 6 * 1024**3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One looked-at thing. needed: evaldock cannot run without it."""

    what: str
    ok: bool
    found: str
    fix: str | None = None
    needed: bool = True


def diagnose() -> list[Finding]:
    """Return every finding; a check that fails itself is a finding too."""
    return [_safely(check) for check in (engine, limits, gpus, build_tools, disk, images, identity)]


def engine() -> Finding:
    """An engine that answers."""
    host = find_engine()
    if host is None:
        return Finding(
            what="container engine",
            ok=False,
            found="none answers",
            fix="start dockerd, or let evaldock start its own: evaldock quickstart --keep-engine",
        )
    version = docker.DockerClient(base_url=host).version()
    return Finding(
        what="container engine",
        ok=True,
        found=f"{version['Version']} (API {version['ApiVersion']}) at {host}",
    )


def limits() -> Finding:
    """Whether the engine enforces memory and process limits."""
    host = find_engine()
    if host is None:
        return Finding(what="container limits", ok=False, found="no engine to ask", needed=False)
    info = docker.DockerClient(base_url=host).info()
    enforced = bool(info.get("MemoryLimit")) and bool(info.get("PidsLimit"))
    return Finding(
        what="container limits",
        ok=enforced,
        found="memory and process limits are enforced" if enforced else "not enforced by this engine",
        fix="use a rootful engine or cgroup v2; code from models is not to run without limits",
        needed=False,
    )


def gpus() -> Finding:
    """NVIDIA GPUs and the toolkit that brings them into containers."""
    has_driver = shutil.which("nvidia-smi") is not None
    has_toolkit = shutil.which("nvidia-container-runtime-hook") is not None
    return Finding(
        what="GPUs",
        ok=has_toolkit or not has_driver,
        found=("driver" if has_driver else "no driver") + (", toolkit" if has_toolkit else ", no toolkit"),
        fix="install the NVIDIA Container Toolkit",
        needed=False,
    )


def build_tools() -> Finding:
    """What `evaldock build` needs."""
    missing = missing_packages(BUILD_PACKAGES)
    return Finding(
        what="build tools",
        ok=not missing,
        found=f"missing: {' '.join(missing)}" if missing else "all there",
        fix=f"apt-get install {' '.join(missing)}",
        needed=False,
    )


def disk() -> Finding:
    """Free space where images and caches go."""
    free = shutil.disk_usage(cache_home()).free
    return Finding(
        what="disk",
        ok=free > _DISK_BYTES,
        found=f"{free / 1024**3:.0f} GiB free at {cache_home()}",
        fix="free some, or set XDG_CACHE_HOME and XDG_DATA_HOME to a larger disk",
    )


def images() -> Finding:
    """Images built here."""
    built = [name for name, image in read_lock().images.items() if image.kind in ("harness", "backend")]
    return Finding(
        what="images",
        ok=bool(built),
        found=", ".join(built) or "none built on this machine",
        fix="evaldock build",
        needed=False,
    )


def identity() -> Finding:
    """Who containers run as."""
    return Finding(what="user", ok=True, found=f"containers run as {os.getuid()}:{os.getgid()}")


def _safely(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except (EvaldockError, docker.errors.DockerException, OSError) as error:
        return Finding(what=check.__name__, ok=False, found=str(error))
