"""What a Docker daemon leaves in the network stack when it stops, and taking exactly that away again."""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_TABLES = ("filter", "nat")
_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_BRIDGE = re.compile(r"docker0|br-[0-9a-f]{12}")
_DOCKERS = re.compile(r"\bDOCKER\b|\bDOCKER-|" + _BRIDGE.pattern)


@dataclass(frozen=True, kw_only=True)
class NetworkState:
    """Bridges and packet-filter rules of one moment."""

    bridges: list[str]
    rules: Mapping[str, list[str]]  # by table, as `iptables -S` prints them
    ip_forward: str

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "NetworkState":
        return cls(**json.loads(text))


def network_state() -> NetworkState:
    """Read the present state."""
    return NetworkState(
        bridges=sorted(
            path.name for path in Path("/sys/class/net").iterdir() if _BRIDGE.fullmatch(path.name)
        ),
        rules={table: _run(["iptables", "--wait", "-t", table, "-S"]).splitlines() for table in _TABLES},
        ip_forward=_FORWARD.read_text(encoding="ascii").strip(),
    )


def restore_network(before: NetworkState) -> None:
    """Remove Docker's bridges, rules and chains that were not there before; nobody else's are touched."""
    now = network_state()
    for table in _TABLES:
        for command in undo_commands(before.rules[table], now.rules[table]):
            _run(["iptables", "--wait", "-t", table, *command])
    for bridge in set(now.bridges) - set(before.bridges):
        _run(["ip", "link", "delete", bridge])
    if before.ip_forward != now.ip_forward:
        _FORWARD.write_text(before.ip_forward, encoding="ascii")


def undo_commands(before: Sequence[str], now: Sequence[str]) -> list[list[str]]:
    """Return the iptables arguments that lead from now back to before, Docker's own lines only."""
    new = [line.split() for line in now if line not in before]
    rules = [["-D", *words[1:]] for words in new if words[0] == "-A" and _DOCKERS.search(" ".join(words))]
    chains = [words[1] for words in new if words[0] == "-N" and words[1].startswith("DOCKER")]
    # dockerd closes FORWARD; the policy line that was there before opens it again.
    policies = [line.split() for line in before if line.startswith("-P FORWARD") and line not in now]
    return [*policies, *rules, *(["-F", chain] for chain in chains), *(["-X", chain] for chain in chains)]


def _run(argv: Sequence[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False).stdout
