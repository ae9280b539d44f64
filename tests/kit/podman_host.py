"""The podman of this machine for tests: installed where it may be, and what it leaves is taken away again."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from evaldock.engines.podman_command import PACKAGES, PodmanCommand, find_podman
from evaldock.engines.podman_images import load_image
from evaldock.supply.host import ensure_packages
from evaldock.supply.lock import LockedImage

_TABLES = ("filter", "nat")
_BRIDGE = re.compile(r"cni-podman\d+")


@contextmanager
def podman_with(image: LockedImage) -> Iterator[PodmanCommand]:
    """Yield a podman that holds the image; what came meanwhile of images, rules and bridges goes again."""
    ensure_packages(PACKAGES, report=lambda _: None)
    podman = find_podman()
    before, held = _network(), _images(podman)
    load_image(image, podman)
    try:
        yield podman
    finally:
        if new := _images(podman) - held:
            podman.output(["image", "rm", "--force", *new])
        _restore(before)


@contextmanager
def podman_without(*repositories: str) -> Iterator[PodmanCommand]:
    """Yield this machine's podman; at the end it holds no image of these repositories."""
    ensure_packages(PACKAGES, report=lambda _: None)
    podman = find_podman()
    try:
        yield podman
    finally:
        found = {str(image["Id"]) for name in repositories for image in podman.listing(["images", name])}
        if found:
            podman.output(["image", "rm", "--force", *found])


def _images(podman: PodmanCommand) -> set[str]:
    """Return the IDs of what evaldock loads."""
    ours = "--filter=reference=localhost/evaldock/*"
    return set(podman.output(["images", "--quiet", "--no-trunc", ours]).split())


@dataclass(frozen=True, kw_only=True)
class _Network:
    rules: dict[str, list[str]]
    bridges: set[str]


def _network() -> _Network:
    return _Network(
        rules={table: _iptables(table, "-S").splitlines() for table in _TABLES},
        bridges={path.name for path in Path("/sys/class/net").iterdir() if _BRIDGE.fullmatch(path.name)},
    )


def _restore(before: _Network) -> None:
    """Remove the CNI plugins' rules and chains that were not there before, and podman's bridges."""
    now = _network()
    for table in _TABLES:
        new = [line.split() for line in now.rules[table] if line not in before.rules[table]]
        chains = [words[1] for words in new if words[0] == "-N" and words[1].startswith("CNI-")]
        # The rules of CNI's own chains go with the flush.
        for chain in {words[1] for words in new if words[0] == "-A" and not words[1].startswith("CNI-")}:
            _delete(table, chain, chains)
        for option in ("-F", "-X"):
            for chain in chains:
                _iptables(table, option, chain)
    for bridge in now.bridges - before.bridges:
        subprocess.run(["ip", "link", "delete", bridge], capture_output=True, timeout=30, check=False)


def _delete(table: str, chain: str, targets: list[str]) -> None:
    """Delete the chain's rules that jump to these; by number, because comments hold quotes."""
    lines = _iptables(table, "-L", chain, "--line-numbers", "-n").splitlines()[2:]
    numbers = [int(line.split()[0]) for line in lines if line.split()[1] in targets]
    for number in reversed(numbers):
        _iptables(table, "-D", chain, str(number))


def _iptables(table: str, *arguments: str) -> str:
    argv = ["iptables", "--wait", "-t", table, *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False).stdout
