"""What a dockerd of our own needs, where no engine answers."""

import os
import shutil
from collections.abc import Iterator

from evaldock.diagnosis.cgroups import control_groups, missing_controllers
from evaldock.diagnosis.facts import Facts
from evaldock.diagnosis.finding import Finding, Remedy, lack, note, ok
from evaldock.diagnosis.packages import installed, may_install, packages
from evaldock.diagnosis.tools import Answer, ask
from evaldock.supply.host import ENGINE_PACKAGES, missing_packages

_LEGACY = "/usr/sbin/iptables-legacy"


def findings(facts: Facts) -> Iterator[Finding]:
    """Look at packages, control groups and packet filter; nothing to do where an engine answers."""
    if facts.engine:
        yield note("own engine", "not needed, an engine answers")
        return
    if os.geteuid() != 0:
        yield note("own engine", "only root can start one")
        return
    yield packages("packages", ENGINE_PACKAGES)
    yield control_groups()
    yield packet_filter()


def blockers() -> str | None:
    """Return what keeps evaldock from starting a dockerd of its own, None when nothing does."""
    if os.geteuid() != 0:
        return "you are not root"
    if not may_install() and (packages_missing := missing_packages(ENGINE_PACKAGES)):
        return f"packages are missing: {' '.join(packages_missing)}"
    if groups_missing := missing_controllers():
        return f"control groups are missing: {', '.join(groups_missing)}"
    rules = _rules("iptables")
    return f"iptables: {rules.first_line}" if rules and rules.code != 0 else None


def packet_filter() -> Finding:
    """Return whether iptables works: dockerd writes rules for every network."""
    rules = _rules("iptables")
    if rules is None:
        return lack("iptables", "not installed", "apt-get install iptables", remedy=installed("iptables"))
    if rules.code == 0:
        return ok("iptables", "rules can be read")
    legacy = _rules("iptables-legacy")
    switch = ("update-alternatives", "--set", "iptables", _LEGACY)
    works = legacy is not None and legacy.code == 0 and shutil.which("update-alternatives") is not None
    return lack(
        "iptables",
        rules.first_line,
        " ".join(switch)
        if works
        else "modprobe iptable_nat nf_tables (the kernel has no packet filter loaded)",
        remedy=Remedy(commands=(switch,)) if works and os.geteuid() == 0 else None,
    )


def _rules(program: str) -> Answer | None:
    return ask([program, "--wait", "2", "-t", "nat", "-S"])
