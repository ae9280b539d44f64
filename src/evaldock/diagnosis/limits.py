"""Whether limits of containers are enforced, who their files belong to, and what memory they share."""

import os
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path

from evaldock.diagnosis.engine_api import Engine
from evaldock.diagnosis.facts import Facts
from evaldock.diagnosis.finding import Finding, lack, note, ok
from evaldock.diagnosis.packages import installed
from evaldock.diagnosis.podman import Podman

_SUB_IDS = (Path("/etc/subuid"), Path("/etc/subgid"))
_SHARED = Path("/dev/shm")
_SHARED_BYTES = 1024**3
_CONTAINER_SHARED = "64 MiB"  # what Docker and podman give where nothing else is asked for
_TRY = "evaldock doctor --deep tries it"
_LIMITS_FIX = "use a rootful engine or cgroup v2; code from models is not to run without limits"


def findings(facts: Facts) -> Iterator[Finding]:
    """Judge what the engine and podman say of themselves."""
    if facts.engine:
        yield container_limits(facts.engine)
        yield ownership(facts.engine)
    else:
        yield note("container limits", "no engine to ask")
        yield note("files of containers", f"no engine to ask; containers run as {_caller()}")
    if facts.podman and not facts.podman.trouble:
        yield podman_limits(facts.podman)
        if facts.podman.info.host.security.rootless:
            yield sub_ids()
    yield shared_memory()


def container_limits(engine: Engine) -> Finding:
    """Return which limits the engine says it enforces."""
    info = engine.info
    claimed = {"memory": info.memory_limit, "processes": info.pids_limit, "cpu": info.cpu_cfs_quota}
    absent = [name for name, enforced in claimed.items() if not enforced]
    if absent:
        return lack("container limits", f"not enforced by this engine: {', '.join(absent)}", _LIMITS_FIX)
    if not info.swap_limit:
        return note(
            "container limits",
            "memory, processes and cpu are enforced; memory swapped out does not count",
            "boot with swapaccount=1, or without swap: swapoff --all",
        )
    return ok("container limits", f"memory, swap, processes and cpu, as the engine says; {_TRY}")


def podman_limits(podman: Podman) -> Finding:
    """Return whether podman can limit: without root it takes delegated controllers of cgroup v2."""
    host = podman.info.host
    if not host.security.rootless:
        return ok("podman limits", "rootful: memory and processes can be limited")
    absent = [name for name in ("memory", "pids") if name not in host.cgroup_controllers]
    if host.cgroup_version == "v1" or absent:
        return lack("podman limits", "rootless and ignored with a mere warning", _LIMITS_FIX)
    return ok("podman limits", "rootless: memory and processes are delegated")


def ownership(engine: Engine) -> Finding:
    """Return whether files that a container writes belong to the caller."""
    what = "files of containers"
    if engine.secured_by("userns"):
        return lack(
            what,
            "the engine remaps users (userns-remap): results would belong to another uid",
            "take userns-remap out of the engine's daemon.json, or use podman",
        )
    if engine.secured_by("rootless") and os.getuid() != 0:
        return lack(
            what,
            f"rootless: {_caller()} inside is another uid outside, and may not write your folders",
            "use a rootful engine, or podman, which keeps your uid",
        )
    return ok(what, f"belong to the caller: containers run as {_caller()}")


def sub_ids(files: tuple[Path, ...] = _SUB_IDS) -> Finding:
    """Return whether the caller has the subordinate ids that rootless podman builds containers from."""
    what, user = "subordinate ids", _user_name()
    without = [path.name for path in files if not _has_range(path, user)]
    if without:
        return lack(
            what,
            f"no range for {user} in {' and '.join(without)}",
            f"as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
        )
    if shutil.which("newuidmap") is None:
        return lack(what, "newuidmap is missing", "apt-get install uidmap", remedy=installed("uidmap"))
    return ok(what, f"there for {user}")


def shared_memory(folder: Path = _SHARED) -> Finding:
    """Return the size of shared memory here and in containers."""
    try:
        size = shutil.disk_usage(folder).total
    except OSError:
        return lack("shared memory", f"no {folder}", f"mount -t tmpfs -o size=1g shm {folder}")
    found = (
        f"{size / 1024**3:.1f} GiB here, {_CONTAINER_SHARED} in a container, none while answers are scored"
    )
    if size < _SHARED_BYTES:
        return note("shared memory", found, f"mount -o remount,size=1g {folder}")
    return ok("shared memory", found)


def _has_range(path: Path, user: str) -> bool:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any(line.partition(":")[0] in {user, str(os.getuid())} for line in lines)


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _caller() -> str:
    return f"{os.getuid()}:{os.getgid()}"
