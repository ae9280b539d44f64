"""Whether this container has a way out: asked of the kernel from inside, before any harness runs."""

import errno
import fcntl
import socket
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from evaldock_entrypoints.contract.errors import ExecutionError

Wanted = Literal["sealed", "auto", "open"]
_LOOPBACK = "lo"
# The metadata address of clouds, an address of the Internet in both families, the usual bridge of an engine.
# Nothing is sent there: connecting a datagram socket only asks the kernel for a route (man 7 udp).
_ADDRESSES = ("169.254.169.254", "1.1.1.1", "2606:4700:4700::1111", "172.17.0.1", "10.0.2.2")
_SIOCGIFFLAGS, _IFF_UP = 0x8913, 0x1  # man 7 netdevice
_NO_WAY = frozenset({errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EHOSTUNREACH, errno.EAFNOSUPPORT})


@dataclass(frozen=True, kw_only=True)
class Seal:
    """What the probe found. proof: each question with its answer."""

    wanted: Wanted
    sealed: bool
    proof: tuple[str, ...]

    def as_tree(self) -> dict[str, Any]:
        """Return the seal as results.yml records it."""
        return {**asdict(self), "proof": list(self.proof)}


def probe_seal(wanted: Wanted) -> Seal:
    """Return whether anything but the loopback is reachable; raises ExecutionError for a seal that leaks."""
    findings = [_interfaces(), *_routes()]
    seal = Seal(
        wanted=wanted,
        sealed=all(is_closed for is_closed, _ in findings),
        proof=tuple(text for _, text in findings),
    )
    if wanted == "sealed" and not seal.sealed:
        leaks = "; ".join(text for is_closed, text in findings if not is_closed)
        raise ExecutionError(
            f"the harness's network is to be sealed, and it has a way out: {leaks}",
            where="execution.network: sealed",
            next_step="use engine docker or podman, or set network: auto, which records sealed: false",
        )
    return seal


def _interfaces() -> tuple[bool, str]:
    """Return whether loopback is the only interface that is up."""
    names = sorted(name for _, name in socket.if_nameindex() if name != _LOOPBACK and _is_up(name))
    return not names, f"interfaces beside loopback: {', '.join(names) or 'none'}"


def _is_up(name: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        answer = fcntl.ioctl(asker, _SIOCGIFFLAGS, struct.pack("16sh14x", name.encode(), 0))
    return bool(struct.unpack("16sh14x", answer)[1] & _IFF_UP)


def _routes() -> Iterator[tuple[bool, str]]:
    for host in _ADDRESSES:
        number = _asked_for_route(host)
        answer = errno.errorcode.get(number, str(number)) if number else "there is a route"
        yield number in _NO_WAY, f"{host}: {answer}"


def _asked_for_route(host: str) -> int:
    """Return the kernel's error, 0 where it knows a way there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asker:
            asker.connect((host, 9))
    except OSError as error:
        return error.errno or errno.EIO
    return 0
