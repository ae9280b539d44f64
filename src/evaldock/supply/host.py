"""What evaldock needs from the machine: Debian packages and a container engine."""

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import docker
from docker.context import ContextAPI

from evaldock.supply.dockerd import answers, in_use, own_daemon, stop
from evaldock.supply.steps import Report
from evaldock_entrypoints.contract.errors import ExecutionError, UsageError

ENGINE_PACKAGES = ("docker.io", "iproute2", "iptables", "mount", "runc")

_APT_TIMEOUT_S = 900.0


def missing_packages(packages: Sequence[str]) -> list[str]:
    """Return those of the Debian packages that are not installed."""
    if not shutil.which("dpkg-query"):
        return list(packages)
    argv = ["dpkg-query", "--show", "--showformat=${Package} ${Status}\n", *packages]
    lines = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False).stdout.splitlines()
    installed = {line.split()[0] for line in lines if line.endswith("install ok installed")}
    return [package for package in packages if package not in installed]


def ensure_packages(packages: Sequence[str], *, report: Report) -> None:
    """Install the missing Debian packages, saying so first; raises UsageError where it may not."""
    missing = missing_packages(packages)
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise UsageError(
            f"this machine lacks {', '.join(missing)}",
            next_step=f"install them as root: {' '.join(command)}",
        )
    report(f"installing Debian packages: {' '.join(missing)}")
    _apt(["apt-get", "update"])
    _apt(command)


def _apt(command: list[str]) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    # Debian's maintainer scripts would start dockerd where an init system runs; ours is started when needed.
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_APT_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise UsageError(
            f"{' '.join(command[:2])} failed:\n{done.stderr.strip()[-2000:]}",
            next_step="see that a Debian mirror is reachable, then try again",
        )


def find_engine() -> str | None:
    """Return the address of an engine that answers: DOCKER_HOST, current context, usual socket, our own.

    Raises ExecutionError when DOCKER_HOST is set and nothing answers there.
    """
    if named := os.environ.get("DOCKER_HOST"):
        if answers(named):
            return named
        raise ExecutionError(
            "no container engine answers at DOCKER_HOST",
            where=f"DOCKER_HOST={named}",
            next_step="start that engine, or unset DOCKER_HOST: then one is found or started",
        )
    candidates = [context_host(), "unix:///var/run/docker.sock", own_daemon().docker_host]
    return next((host for host in candidates if host and answers(host)), None)


@contextmanager
def running_engine(*, report: Report, keep: bool = False) -> Iterator[str]:
    """Yield the address of a container engine, our own for as long as the block runs where none answers.

    keep leaves our own one running. Raises UsageError where packages are missing and we are not root,
    ExecutionError where the engine does not come up.
    """
    daemon = own_daemon()
    found = find_engine()
    if found is not None and found != daemon.docker_host:
        yield found
        return
    ensure_packages(ENGINE_PACKAGES, report=report)
    if found is None:
        report("no container engine answers: starting our own dockerd for this command")
    with in_use(daemon, keep=keep):
        if keep:
            report(
                f"our dockerd stays up (DOCKER_HOST={daemon.docker_host}); stop it: evaldock clean --engine"
            )
        yield daemon.docker_host


def stop_own_engine() -> bool:
    """Stop our own dockerd, kept or crashed; tells whether there was one."""
    daemon = own_daemon()
    was_there = daemon.run.exists()
    stop(daemon)
    return was_there


def nofile_limit() -> int:
    """Return the most open files a container can be given (without CAP_SYS_RESOURCE: the daemon's own)."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def context_host() -> str | None:
    """Return the address of the current docker context; the default context has none of its own."""
    try:
        context = ContextAPI.get_current_context()
    except docker.errors.DockerException:
        return None
    return context.Host if context.Name != "default" else None
