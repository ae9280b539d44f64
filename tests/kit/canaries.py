"""Who holds a secret value while a run lasts, and how much there is to search afterwards."""

from pathlib import Path

from evaldock.conformance.canary import exchanges
from evaldock_entrypoints.contract.adapter import EXCHANGES


def exchanges_in(folder: Path) -> int:
    """Return how many requests with their answers the folder's stores hold, failed ones included."""
    return sum(1 for store in folder.rglob(EXCHANGES) for _ in exchanges(store))


def environments_with(canary: str) -> list[str]:
    """Return the programs whose environment holds the value."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment, argv = ((process / name).read_bytes() for name in ("environ", "cmdline"))
        except OSError:
            continue  # it has just ended
        if canary.encode() in environment:
            found.append(argv.replace(b"\0", b" ").decode(errors="replace"))
    return found
