"""What evaldock needs from the machine: Debian packages."""

import os
import shutil
import subprocess
from collections.abc import Sequence

from evaldock.supply.steps import Report
from evaldock_entrypoints.contract.errors import UsageError

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
