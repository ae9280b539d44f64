"""The seccomp profile of podman itself, without the namespaces that it lets every process make."""

import json
import os
from pathlib import Path
from typing import Any

from evaldock.engines.podman_command import podman_folder

_MAKING = frozenset({"clone", "clone3", "unshare"})
# CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}, as in https://github.com/moby/profiles/blob/main/seccomp/default.json
_NAMESPACES = 0x7E020000
_EPERM, _ENOSYS = 1, 38
_RULES: list[dict[str, Any]] = [
    {
        "names": ["clone"],
        "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": _NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
    },
    {"names": ["unshare"], "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM},
    # Its flags stand in memory, where no filter can look: without it, programs use clone.
    {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
]


def seccomp_options(profile_path: str) -> list[str]:
    """Return the option of the narrowed profile; of none where podman has none that can be read."""
    try:
        profile = json.loads(Path(profile_path).read_bytes())
        content = json.dumps(narrowed(profile)).encode()
    except (OSError, ValueError, KeyError, TypeError):
        return []
    path = podman_folder() / "seccomp.json"
    if not path.is_file() or path.read_bytes() != content:
        new = path.with_name(f".seccomp.{os.getpid()}")
        new.write_bytes(content)
        new.replace(path)
    return [f"--security-opt=seccomp={path}"]


def narrowed(profile: dict[str, Any]) -> dict[str, Any]:
    """Return the profile without leave to make namespaces."""
    rules = [rule | {"names": [n for n in rule["names"] if n not in _MAKING]} for rule in profile["syscalls"]]
    return profile | {"syscalls": [*(rule for rule in rules if rule["names"]), *_RULES]}
