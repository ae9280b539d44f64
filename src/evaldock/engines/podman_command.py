"""The podman of this machine, called by argument lists, and what it can be trusted with."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from evaldock.diagnosis.podman import Info, probe
from evaldock.supply.paths import cache_home
from evaldock_entrypoints.contract.errors import ExecutionError

OLDEST = (4, 0)  # rm --time, network create --disable-dns
PACKAGES = ("podman", "runc", "containernetworking-plugins")
_CALL_TIMEOUT_S = 120.0
_HYBRID = Path("/sys/fs/cgroup/unified")


class PodmanError(ExecutionError):
    """A podman command that failed. said: its own words."""

    def __init__(self, verb: str, said: str) -> None:
        super().__init__(f"podman {verb} failed: {said}", next_step="evaldock doctor names what is missing")
        self.said = said


@dataclass(frozen=True, kw_only=True)
class PodmanCommand:
    """A working podman on this machine."""

    info: Info
    options: tuple[str, ...] = ()  # before the verb

    @property
    def rootless(self) -> bool:
        return self.info.host.security.rootless

    @property
    def enforces_limits(self) -> bool:
        """Whether memory and process limits bind; where not, podman 4.3 says so in a warning and goes on."""
        host = self.info.host
        delegated = {"memory", "pids"} <= set(host.cgroup_controllers)
        return delegated and not (self.rootless and host.cgroup_version == "v1")

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = _CALL_TIMEOUT_S,
        secrets: Mapping[str, str] | None = None,
        merged: bool = False,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command; merged: both outputs in one. Raises PodmanError when it does not end in time."""
        try:
            return self._call(argv, secrets or {}, timeout_s, subprocess.PIPE, merged=merged)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PodmanError(argv[0], str(error)) from error

    def output(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = _CALL_TIMEOUT_S,
        secrets: Mapping[str, str] | None = None,
    ) -> str:
        """Return what a command prints; raises PodmanError when it fails."""
        done = self.run(argv, timeout_s=timeout_s, secrets=secrets)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().removeprefix("Error: ")
            raise PodmanError(argv[0], said[-2000:])
        return done.stdout.decode(errors="replace").strip()

    def write(self, argv: Sequence[str], file: BinaryIO) -> None:
        """Write a command's outputs into a file; raises PodmanError when it does not end in time."""
        try:
            self._call(argv, {}, _CALL_TIMEOUT_S, file, merged=True)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PodmanError(argv[0], str(error)) from error

    def listing(self, argv: Sequence[str]) -> list[dict[str, Any]]:
        """Return the objects that a listing command prints as JSON."""
        found: list[dict[str, Any]] = json.loads(self.output([*argv, "--format", "json"]) or "[]")
        return found

    def _call(
        self,
        argv: Sequence[str],
        secrets: Mapping[str, str],
        timeout_s: float,
        stdout: int | BinaryIO,
        *,
        merged: bool,
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["podman", *self.options, *argv],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT if merged else subprocess.PIPE,
            cwd=podman_folder(),  # where conmon 2.1 leaves a file "oom" for each container out of memory
            env={**os.environ, **secrets},
            timeout=timeout_s,
            start_new_session=True,  # Ctrl-C is ours to handle: it must not end a removal half-way
            check=False,
        )


def podman_folder() -> Path:
    """Return evaldock's own folder for what it needs to call podman."""
    folder = cache_home() / "podman"
    folder.mkdir(exist_ok=True)
    return folder


def find_podman() -> PodmanCommand:
    """Return this machine's podman; raises ExecutionError where there is none that works."""
    found = probe()
    if found is None:
        raise ExecutionError(
            "there is no podman on this machine",
            where="execution.engine: podman",
            next_step=f"sudo apt-get install --no-install-recommends {' '.join(PACKAGES)}",
        )
    if found.trouble:
        raise ExecutionError(
            f"podman does not work: {found.trouble}", next_step="see what `podman info` says"
        )
    _refuse_unfit(found.info)
    return PodmanCommand(info=found.info, options=_options(found.info))


def _refuse_unfit(info: Info) -> None:
    if info.host.service_is_remote:
        raise ExecutionError(
            "podman here is a client of a service elsewhere, and evaldock needs it on this machine",
            next_step="unset CONTAINER_HOST and choose the local connection",
        )
    if tuple(int(part) for part in info.version.version.split(".")[:2] if part.isdecimal()) < OLDEST:
        raise ExecutionError(
            f"podman {info.version.version} is too old", next_step=f"install {OLDEST[0]}.{OLDEST[1]} or newer"
        )


def _options(info: Info) -> tuple[str, ...]:
    """Return global options. crun refuses hybrid cgroups ("cgroups in hybrid mode not supported")."""
    hybrid = info.host.cgroup_version == "v1" and _HYBRID.is_dir()
    return ("--runtime=runc",) if hybrid and info.host.oci_runtime.name == "crun" else ()
