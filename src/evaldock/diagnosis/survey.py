"""Every subject looked at, beside each other and within a bounded time."""

import subprocess
from collections.abc import Callable, Iterator
from configparser import Error as ConfigError
from dataclasses import replace
from functools import partial

from evaldock.diagnosis import (
    clock,
    disk,
    engines,
    gpus,
    images,
    limits,
    machine,
    own_engine,
    programs,
    reachability,
    secrets,
)
from evaldock.diagnosis.facts import Facts
from evaldock.diagnosis.finding import Finding, Section, lack
from evaldock.diagnosis.parallel import Race
from evaldock.visible_text import one_line, without_credentials
from evaldock_entrypoints.contract.errors import EvaldockError

Look = Callable[[Facts], Iterator[Finding]]

# After the 8 s of the facts: the whole of `evaldock doctor` stays below 15 s.
_SUBJECTS_S = 4.5
_SUBJECTS: dict[str, tuple[Look, ...]] = {
    "engines": (engines.findings, limits.findings),
    "own engine": (own_engine.findings,),
    "GPUs": (gpus.findings,),
    "images and tools": (images.findings, programs.findings),
    "disk": (disk.findings,),
    "network": (reachability.findings,),
    "secrets": (secrets.findings,),
    "machine": (machine.findings, clock.findings),
}
_NEEDED = ("engines", "disk")  # where not being able to look means not being able to run


def examine(facts: Facts) -> list[Section]:
    """Return what the facts and a look at this machine amount to."""
    race = Race(_SUBJECTS_S)
    started = {
        title: [race.start(partial(_look, title, look, facts), late=(_late(title),)) for look in looks]
        for title, looks in _SUBJECTS.items()
    }
    return [
        Section(title=title, findings=tuple(shown(finding) for part in parts for finding in part()))
        for title, parts in started.items()
    ]


def shown(finding: Finding) -> Finding:
    """Return the finding as it may be shown: no login of an address, no control characters."""
    fix = finding.fix and _safe(finding.fix)
    return replace(finding, what=_safe(finding.what), found=_safe(finding.found), fix=fix)


def _safe(text: str) -> str:
    return one_line(without_credentials(text))


def _look(title: str, look: Look, facts: Facts) -> tuple[Finding, ...]:
    found: list[Finding] = []
    try:
        found.extend(look(facts))
    except (EvaldockError, OSError, ValueError, ConfigError, subprocess.SubprocessError) as error:
        fix = (isinstance(error, EvaldockError) and error.next_step) or "mend what is named, then look again"
        found.append(lack(title, f"cannot be looked at: {error}", fix, needed=title in _NEEDED))
    return tuple(found)


def _late(title: str) -> Finding:
    fix = "see whether a disk or a network file system hangs: dmesg | tail"
    return lack(title, f"not looked at to its end within {_SUBJECTS_S:.0f} s", fix)
