"""The kernel's control groups: dockerd does not start without them, and limits hang on them."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from evaldock.diagnosis.finding import Finding, Remedy, lack, ok

MOUNTED = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpu", "devices", "memory", "pids")
_IN_EVERY_V2 = ("devices",)  # a program of the kernel's, not a controller, in the second version
_SYSTEMD = Path("/run/systemd/system")
_KERNEL = Path("/proc/cgroups")


def control_groups(mounted: Path = MOUNTED) -> Finding:
    """Return whether the controllers that containers need are mounted, of either version."""
    missing = missing_controllers(mounted)
    if not missing:
        return ok("control groups", f"all at {mounted}")
    commands = _mounts(mounted, missing)
    return lack(
        "control groups",
        f"not at {mounted}: {', '.join(missing)}",
        "; ".join(shlex.join(command) for command in commands),
        remedy=Remedy(commands=commands) if _is_ours_to_mount(mounted, missing) else None,
    )


def missing_controllers(mounted: Path = MOUNTED) -> tuple[str, ...]:
    """Return the controllers that containers need and that are not there."""
    unified = mounted / "cgroup.controllers"
    if unified.is_file():
        have = [*unified.read_text(encoding="ascii").split(), *_IN_EVERY_V2]
    else:
        have = [path.name for path in mounted.iterdir() if path.is_dir()] if mounted.is_dir() else []
    return tuple(name for name in _CONTROLLERS if name not in have)


def _mounts(mounted: Path, missing: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    if not _is_first_version(mounted):
        return (("mount", "-t", "cgroup2", "none", str(mounted)),)
    folders = {name: str(mounted / name) for name in missing}
    return tuple(
        command
        for name, folder in folders.items()
        for command in (("mkdir", "-p", folder), ("mount", "-t", "cgroup", "-o", name, "none", folder))
    )


def _is_first_version(mounted: Path) -> bool:
    return not (mounted / "cgroup.controllers").exists() and mounted.is_dir() and any(mounted.iterdir())


def _is_ours_to_mount(mounted: Path, missing: Sequence[str]) -> bool:
    """Tell whether mounting is safe: as root, no init system in charge, a kernel that has the controllers."""
    return os.geteuid() == 0 and not _SYSTEMD.exists() and mounted.is_dir() and _in_kernel(missing)


def _in_kernel(names: Sequence[str]) -> bool:
    """Tell whether the kernel has these controllers enabled, those of the second version apart."""
    try:
        lines = [line.split() for line in _KERNEL.read_text(encoding="ascii").splitlines()]
    except OSError:
        return False
    enabled = {words[0] for words in lines if len(words) == 4 and words[3] == "1"}
    return set(names) <= enabled
