"""What `evaldock doctor` looks at: one small function per finding."""

import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker

from evaldock.supply.build import BUILD_PACKAGES
from evaldock.supply.buildah import SOURCE_DATE_EPOCH
from evaldock.supply.host import ENGINE_PACKAGES, find_engine, missing_packages, nofile_limit
from evaldock.supply.index import read_index_settings
from evaldock.supply.layout import is_complete
from evaldock.supply.lock import read_lock
from evaldock.supply.paths import cache_home, image_store
from evaldock_entrypoints.contract.errors import EvaldockError

_DISK_BYTES = 6 * 1024**3
_OPEN_FILES = 4096  # a harness with hundreds of connections, and the log and data files of each
_CGROUPS = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpu", "memory", "pids")


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
    machine = (disk, open_files, clock, certificates, identity)
    own_engine = (engine_packages, cgroups, packet_filter)
    return [_safely(check) for check in (engine, limits, *own_engine, gpus, build_tools, *machine, images)]


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
    with _client(host) as client:
        version = client.version()
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
    with _client(host) as client:
        info = client.info()
    enforced = bool(info.get("MemoryLimit")) and bool(info.get("PidsLimit"))
    return Finding(
        what="container limits",
        ok=enforced,
        found="memory and process limits are enforced" if enforced else "not enforced by this engine",
        fix="use a rootful engine or cgroup v2; code from models is not to run without limits",
        needed=False,
    )


def engine_packages() -> Finding:
    """What a dockerd of our own is made of."""
    fix = "apt-get install --no-install-recommends {} (evaldock does so itself as root)"
    return _packages("own engine: packages", ENGINE_PACKAGES, fix)


def _packages(what: str, packages: Sequence[str], fix: str) -> Finding:
    """Return whether all are installed; {} in fix stands for those that are not."""
    missing = " ".join(missing_packages(packages))
    return Finding(
        what=what,
        ok=not missing,
        found=f"missing: {missing}" if missing else "all there",
        fix=fix.format(missing),
        needed=False,
    )


def cgroups(mounted: Path = _CGROUPS) -> Finding:
    """The kernel's control groups: dockerd does not start without them."""
    unified = mounted / "cgroup.controllers"
    have = unified.read_text(encoding="ascii").split() if unified.is_file() else _folders(mounted)
    missing = [name for name in _CONTROLLERS if name not in have]
    return Finding(
        what="own engine: control groups",
        ok=not missing,
        found=f"not at {mounted}: {', '.join(missing)}" if missing else f"all at {mounted}",
        fix=f"mount -t cgroup2 none {mounted}",
        needed=False,
    )


def packet_filter() -> Finding:
    """iptables rules: dockerd writes some for every network."""
    if shutil.which("iptables") is None:
        return Finding(
            what="own engine: iptables",
            ok=False,
            found="not installed",
            fix="apt-get install iptables",
            needed=False,
        )
    argv = ["iptables", "--wait", "5", "-t", "nat", "-S"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    return Finding(
        what="own engine: iptables",
        ok=done.returncode == 0,
        found="rules can be read" if done.returncode == 0 else done.stderr.strip().partition("\n")[0],
        fix="as root, if it fails there too: update-alternatives --set iptables /usr/sbin/iptables-legacy",
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
    return _packages("build tools", BUILD_PACKAGES, "apt-get install {}")


def disk() -> Finding:
    """Free space where images and caches go."""
    free = shutil.disk_usage(cache_home()).free
    return Finding(
        what="disk",
        ok=free > _DISK_BYTES,
        found=f"{free / 1024**3:.0f} GiB free at {cache_home()}",
        fix="free some, or set XDG_CACHE_HOME and XDG_DATA_HOME to a larger disk",
    )


def open_files(limit: int | None = None) -> Finding:
    """How many files a process may open at most; containers of our own engine inherit it."""
    limit = nofile_limit() if limit is None else limit
    return Finding(
        what="open files",
        ok=limit >= _OPEN_FILES,
        found=f"at most {limit} per process",
        fix=f"as root: prlimit --pid $$ --nofile={_OPEN_FILES * 16} (for good: /etc/security/limits.conf)",
        needed=False,
    )


def clock(now_s: float | None = None) -> Finding:
    """A clock before this release makes certificates and package lists look wrong."""
    now_s = time.time() if now_s is None else now_s
    return Finding(
        what="clock",
        ok=now_s > SOURCE_DATE_EPOCH,
        found=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now_s)),
        fix="timedatectl set-ntp true, or date --utc --set='YYYY-MM-DD HH:MM'",
        needed=False,
    )


def certificates() -> Finding:
    """The certificate authorities that package downloads are checked against."""
    path = read_index_settings().ca_file
    count = _authorities(path) if path else 0
    return Finding(
        what="certificates",
        ok=count > 0,
        found=f"{count} authorities in {path}" if path else "no bundle of authorities",
        fix="apt-get install ca-certificates, or set SSL_CERT_FILE to your organisation's PEM file",
        needed=False,
    )


def images() -> Finding:
    """Images built here, and whether the store still holds them."""
    built = [image for image in read_lock().images.values() if image.kind in ("harness", "backend")]
    broken = [image.name for image in built if not is_complete(image_store(), image.digest)]
    return Finding(
        what="images",
        ok=bool(built) and not broken,
        found=f"incomplete in {image_store()}: {', '.join(broken)}"
        if broken
        else ", ".join(image.name for image in built) or "none built on this machine",
        fix="evaldock build",
        needed=False,
    )


def identity() -> Finding:
    """Who containers run as."""
    return Finding(what="user", ok=True, found=f"containers run as {os.getuid()}:{os.getgid()}")


@contextmanager
def _client(host: str) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=host)
    try:
        yield client
    finally:
        client.close()


def _folders(parent: Path) -> list[str]:
    return [path.name for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []


def _authorities(bundle: Path) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(bundle)
    except ssl.SSLError:
        return 0
    return len(context.get_ca_certs())


def _safely(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except (EvaldockError, docker.errors.DockerException, OSError, subprocess.SubprocessError) as error:
        return Finding(what=check.__name__, ok=False, found=str(error))
