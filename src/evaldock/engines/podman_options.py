"""A unit as arguments of `podman create`: as hardened as under Docker, whatever containers.conf says."""

import csv
import io
import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from evaldock.plan import Limits, Mount, Unit
from evaldock_entrypoints.contract.fields import Gpus

_LOG_SIZE = "64mb"


def create_options(unit: Unit, *, user: str, labels: Mapping[str, str]) -> list[str]:
    """Return the options of everything but namespaces, name, secrets and image."""
    return [
        "--pull=never",
        f"--user={user}",
        *(f"--label={name}={value}" for name, value in labels.items()),
        *(f"--env={name}={value}" for name, value in unit.settings.items()),
        *(f"--mount={_bind(mount)}" for mount in unit.mounts),
        *(f"--device={name}" for name in cdi_names(unit.gpus)),
        *_hardening(unit.limits),
    ]


def cdi_names(gpus: Gpus) -> list[str]:
    """Return the CDI devices of all, a count or a list of GPUs; a count is the first ones, as with Docker."""
    match gpus:
        case "none":
            return []
        case "all":
            return ["nvidia.com/gpu=all"]
        case int():
            return [f"nvidia.com/gpu={number}" for number in range(gpus)]
        case _:
            return [f"nvidia.com/gpu={number}" for number in gpus]


def loopback_options(hosts: Path) -> list[str]:
    """Return the options of a network that is nothing but a loopback; hosts: its names."""
    return ["--network=none", *_hosts(hosts)]


def published_options(unit: Unit) -> list[str]:
    """Return the options of a port on this machine's loopback address."""
    port = unit.published_port
    return [] if port is None else [f"--publish=127.0.0.1:{port}:{port}"]


def joined_options(container: str, hosts: Path) -> list[str]:
    """Return the options of sharing another container's network.

    Its user namespace decides who may mount /sys in it, so without root that one is shared too.
    """
    return [f"--network=container:{container}", *_hosts(hosts)]


def _hosts(hosts: Path) -> list[str]:
    # podman's own copies this machine's /etc/hosts, and gives a joined container no name of the other.
    return ["--no-hosts", f"--mount={_bind(Mount(source=str(hosts), target='/etc/hosts'))}"]


def _hardening(limits: Limits) -> Iterator[str]:
    yield from ("--cap-drop=all", "--security-opt=no-new-privileges")
    # The tmpfs is noexec under Docker by default, here by name. --read-only alone would add more of them.
    yield from ("--read-only", "--read-only-tmpfs=false")
    yield f"--tmpfs=/tmp:rw,nosuid,nodev,noexec,size={limits.tmp_size},mode=1777"
    yield f"--pids-limit={limits.pids}"
    yield from (f"--ulimit={name}={value}:{value}" for name, value in _ulimits(limits).items())
    yield from ("--log-driver=k8s-file", f"--log-opt=max-size={_LOG_SIZE}")
    yield "--http-proxy=false"  # a proxy's address may hold a login
    if limits.memory:
        yield from (f"--memory={limits.memory}", f"--memory-swap={limits.memory}")
    if not limits.shares_memory:
        yield "--ipc=none"
    if limits.cpus:
        yield f"--cpus={min(limits.cpus, os.cpu_count() or 1):g}"


def _ulimits(limits: Limits) -> dict[str, int]:
    """Return every limit that podman would set by itself, and ours.

    Its defaults raise nofile to a million, which fails without CAP_SYS_RESOURCE ("error setting rlimit").
    """
    _, open_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {"nofile": open_files, "nproc": _processes(), **limits.ulimits}


def _processes() -> int:
    """Return the most processes that podman, which lowers its own limit to pid_max, can hand on."""
    _, ours = resource.getrlimit(resource.RLIMIT_NPROC)
    highest = int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii"))
    return highest if ours == resource.RLIM_INFINITY else min(ours, highest)


def _bind(mount: Mount) -> str:
    """Return a bind mount as podman reads it, as CSV, so that paths may hold commas and colons."""
    fields = ["type=bind", f"source={mount.source}", f"target={mount.target}"]
    return _csv([*fields, "readonly"] if mount.read_only else fields)


def _csv(fields: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()
