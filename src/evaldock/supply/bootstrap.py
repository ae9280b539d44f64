"""A Debian root file system from a package mirror alone, the same bytes every time."""

import hashlib
import os
import tempfile
from pathlib import Path

from evaldock.supply import buildah
from evaldock.supply.apt import SUITE, AptSettings
from evaldock.supply.steps import Steps

# usr-is-merged with the hook: without them minbase pulls in all of perl (50 MB) for the /usr merge.
_PACKAGES = ("ca-certificates", "python3", "tini", "usr-is-merged")
_HOOKS = "/usr/share/mmdebstrap/hooks/merged-usr"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# The host name and resolver of the building machine, and what differs from run to run or names the mirror.
_REMOVED = (
    "etc/hostname",
    "etc/resolv.conf",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/aux-cache",
    "var/lib/apt/extended_states",
    "var/lib/dpkg/*-old",
    "var/log/*",
)
_PUBLIC_SOURCES = AptSettings().sources


def fingerprint() -> str:
    """Return a short hash of all that decides the root file system, the mirror's own state apart."""
    argv = _argv([], Path("sources.list"))
    return hashlib.sha256("\n".join([SUITE, _PUBLIC_SOURCES, *argv]).encode()).hexdigest()[:12]


def distro_name() -> str:
    """Return the name of the bootstrapped root in a storage."""
    return f"localhost/evaldock/distro:{fingerprint()}"


def bootstrap(storage: buildah.Storage, steps: Steps, apt: AptSettings, name: str) -> None:
    """Make the root file system and store it as a one-layer image under this name."""
    with tempfile.TemporaryDirectory(prefix="evaldock-bootstrap-") as folder:
        context = Path(folder)
        with steps.step(f"Debian {SUITE} root file system"):
            make_root(steps, apt, context / "root.tar")
        (context / "Dockerfile").write_text("FROM scratch\nADD root.tar /\n", encoding="utf-8")
        buildah.build(storage, steps, context=context, name=name, build_args={}, labels={})


def make_root(steps: Steps, apt: AptSettings, tar: Path) -> None:
    """Write the root file system as a tar file."""
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(buildah.SOURCE_DATE_EPOCH), "LC_ALL": "C.UTF-8"}
    with tempfile.TemporaryDirectory(prefix="evaldock-apt-") as folder:
        sources, auth = Path(folder) / "sources.list", Path(folder) / "auth.conf"
        sources.write_text(_PUBLIC_SOURCES, encoding="utf-8")
        auth.touch(mode=0o600)
        auth.write_text(apt.auth, encoding="utf-8")
        options = [*apt.options, f'Dir::Etc::netrc "{auth}";']
        steps.run([*_argv(options, sources), SUITE, str(tar), "-"], env=environment, stdin=apt.sources)


def _argv(apt_options: list[str], sources: Path) -> list[str]:
    removed = " ".join(f'"$1"/{path}' for path in _REMOVED)
    argv = ["mmdebstrap", "--variant=minbase", "--architectures=amd64", f"--include={','.join(_PACKAGES)}"]
    argv += [f"--hook-dir={_HOOKS}", f"--keyring={_KEYRING}"]
    argv += [f"--aptopt={option.rstrip(';')}" for option in apt_options]
    argv += ['--aptopt=Acquire::Languages "none"']
    argv += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")]
    argv += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]
    argv += [f"--customize-hook=rm -rf {removed}"]
    argv += [f'--customize-hook=cp {sources} "$1"/etc/apt/sources.list']
    return argv
