"""Debian packages that are missing, and the remedy where we may install them."""

import os
import shutil
from collections.abc import Sequence

from evaldock.diagnosis.finding import Finding, Remedy, lack, ok
from evaldock.supply.host import missing_packages


def may_install() -> bool:
    """Tell whether packages can be installed without asking anybody."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def packages(what: str, names: Sequence[str]) -> Finding:
    """Return whether all of these packages are installed."""
    missing = tuple(missing_packages(names))
    if not missing:
        return ok(what, "all there")
    return lack(
        what,
        f"missing: {' '.join(missing)}",
        f"apt-get install --no-install-recommends {' '.join(missing)}",
        remedy=installed(*missing),
    )


def installed(*names: str) -> Remedy | None:
    """Return the remedy that installs packages, None where we may not."""
    return Remedy(packages=names) if may_install() else None
