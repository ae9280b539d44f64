"""What this machine is, and whether its settings are in the way."""

import locale
import os
import platform
import resource
import ssl
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from evaldock.diagnosis.facts import Facts
from evaldock.diagnosis.finding import Finding, lack, note, ok
from evaldock.diagnosis.packages import installed
from evaldock.supply.host import nofile_limit
from evaldock.supply.index import read_index_settings

_OPEN_FILES = 4096  # a harness with hundreds of connections, and the log and data files of each
_PROCESSES = 4096
_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))


def findings(_facts: Facts) -> Iterator[Finding]:
    """Look at versions, size, confinement, limits, language and certificates."""
    yield ok("evaldock", f"{version('evaldock')}, Python {platform.python_version()}")
    yield ok("machine", _description())
    yield confinement()
    yield open_files(nofile_limit())
    yield processes(resource.getrlimit(resource.RLIMIT_NPROC)[0])
    yield encoding(locale.getpreferredencoding(do_setlocale=False))
    yield certificates()


def confinement(marks: tuple[Path, ...] = _MARKS) -> Finding:
    """Return whether evaldock itself runs inside a container."""
    if any(mark.exists() for mark in marks) or os.environ.get("container"):  # noqa: SIM112 - what systemd and podman set
        return note(
            "inside a container",
            "it looks like it; an engine outside mounts the folders of the machine outside",
            "give this container the same folders under the same paths, or run evaldock outside",
        )
    return ok("inside a container", "no")


def open_files(limit: int) -> Finding:
    """Return how many files a process may open at most; containers of our own engine inherit it."""
    found = f"at most {limit} per process"
    if limit >= _OPEN_FILES or limit == resource.RLIM_INFINITY:
        return ok("open files", found)
    fix = f"as root: prlimit --pid $$ --nofile={_OPEN_FILES * 16} (for good: /etc/security/limits.conf)"
    return lack("open files", found, fix)


def processes(limit: int) -> Finding:
    """Return how many processes the caller may have."""
    if limit == resource.RLIM_INFINITY:
        return ok("processes", "without a limit of yours")
    found = f"at most {limit} of yours"
    if limit >= _PROCESSES:
        return ok("processes", found)
    return lack("processes", found, f"ulimit -u {_PROCESSES * 4} (for good: /etc/security/limits.conf)")


def encoding(name: str) -> Finding:
    """Return whether text is UTF-8 here: questions and answers are."""
    if name.lower().replace("-", "") == "utf8":
        return ok("text", "UTF-8")
    return lack("text", f"{name}, and not UTF-8", "export LC_ALL=C.UTF-8")


def certificates() -> Finding:
    """Return the certificate authorities that downloads are checked against."""
    path = read_index_settings().ca_file
    count = _authorities(path) if path else 0
    if count:
        return ok("certificates", f"{count} authorities in {path}")
    return lack(
        "certificates",
        f"0 authorities in {path}" if path else "no bundle of authorities",
        "apt-get install ca-certificates, or set SSL_CERT_FILE to your organisation's PEM file",
        remedy=None if path else installed("ca-certificates"),
    )


def _authorities(bundle: Path) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(bundle)
    except ssl.SSLError:
        return 0
    return len(context.get_ca_certs())


def _description() -> str:
    system = _system_name()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    cores = len(os.sched_getaffinity(0))
    return f"{system}, Linux {platform.release()}, {platform.machine()}, {cores} cores, {memory:.0f} GiB"


def _system_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown system")
    except OSError:
        return "unknown system"
