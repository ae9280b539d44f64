"""Free space and free inodes where evaldock and the engine write."""

import os
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evaldock.diagnosis.facts import Facts
from evaldock.diagnosis.finding import Finding, Remedy, lack, note, ok
from evaldock.supply.paths import cache_home, image_store

GIB = 1024**3
_INODES = 100_000  # a harness environment holds some ten thousand files


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder that is written to, and how much it needs."""

    what: str
    folder: Path
    needs_bytes: int
    fix: str
    needed: bool = True
    ours: bool = True  # written by this process, and not by the engine


def findings(facts: Facts) -> Iterator[Finding]:
    """Look at each place, and at the folder for temporary files."""
    for place in _places(facts):
        yield space(place)
    yield temporary(os.environ.get("TMPDIR"))


def space(place: Place) -> Finding:
    """Return whether a place has room, by bytes and by inodes, and may be written."""
    folder = _existing(place.folder)
    try:
        state = os.statvfs(folder)
    except OSError as error:
        return note(place.what, f"{place.folder} cannot be looked at: {error.strerror}")
    free = state.f_bavail * state.f_frsize
    found = f"{free / GIB:.1f} GiB free at {place.folder}"
    if place.ours and not os.access(folder, os.W_OK | os.X_OK):
        return lack(place.what, f"{folder} is not yours to write", place.fix, needed=place.needed)
    if free < place.needs_bytes:
        found += f", {place.needs_bytes / GIB:.0f} GiB are needed"
        return lack(place.what, found, place.fix, needed=place.needed)
    if state.f_files and state.f_favail < _INODES:  # some file systems count none
        return lack(place.what, f"{found}, and room for {state.f_favail} files only", place.fix)
    return ok(place.what, found)


def temporary(named: str | None) -> Finding:
    """Return whether TMPDIR is there: Python quietly takes another folder, other programs fail."""
    if not named or Path(named).is_dir():
        return ok("temporary files", f"at {tempfile.gettempdir()}")
    make = ("mkdir", "-p", "-m", "700", named)
    is_path = Path(named).is_absolute() and not Path(named).exists()
    return lack(
        "temporary files",
        f"TMPDIR={named} is no folder",
        shlex.join(make) if is_path else "unset TMPDIR",
        remedy=Remedy(commands=(make,)) if is_path and _is_writable(_existing(Path(named))) else None,
    )


def _places(facts: Facts) -> Iterator[Place]:
    larger = "free some (evaldock clean --images), or put {} on a larger disk"
    yield Place(
        what="disk for images",
        folder=image_store(),
        needs_bytes=6 * GIB,
        fix=larger.format("XDG_DATA_HOME"),
    )
    yield Place(
        what="disk for builds and models",
        folder=cache_home(),
        needs_bytes=6 * GIB,
        fix=larger.format("XDG_CACHE_HOME"),
    )
    if facts.engine and facts.engine.is_local and facts.engine.info.docker_root_dir:
        yield Place(
            what="disk of the engine",
            folder=Path(facts.engine.info.docker_root_dir),
            needs_bytes=6 * GIB,
            fix="docker system prune, or data-root in the engine's daemon.json",
            ours=False,
        )
    yield Place(
        what="disk for results",
        folder=facts.output.absolute(),
        needs_bytes=GIB,
        fix="run from a folder of yours on a larger disk, or set output.dir",
    )


def _existing(folder: Path) -> Path:
    """Return the nearest folder that is there: the others are made below it."""
    return next((path for path in (folder, *folder.parents) if path.is_dir()), Path("/"))


def _is_writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)
