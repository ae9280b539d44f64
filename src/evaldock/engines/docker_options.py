"""A unit's parts as the options of Docker's SDK: GPUs, limits and confinement, network, ports."""

from collections.abc import Container
from typing import Any

import docker.types

from evaldock.plan import Limits, Unit, UnitNetwork
from evaldock_entrypoints.contract.fields import Gpus

# TEST-NET-1: the engine's resolver must not carry names out of a sealed network.
_UNROUTABLE_DNS = "192.0.2.1"
SANDBOX_RUNTIME = "runsc"


def device_requests(gpus: Gpus) -> list[docker.types.DeviceRequest]:
    """Return the SDK's device requests for all, a count or a list of GPUs."""
    match gpus:
        case "none" | 0 | []:
            return []
        case "all":
            return [docker.types.DeviceRequest(count=-1, capabilities=[["gpu"]])]
        case int():
            return [docker.types.DeviceRequest(count=gpus, capabilities=[["gpu"]])]
        case list():
            return [docker.types.DeviceRequest(device_ids=[str(i) for i in gpus], capabilities=[["gpu"]])]
        case _:
            raise AssertionError(gpus)


def sandbox(runtimes: Container[str]) -> dict[str, Any]:
    """Return the option that puts a unit into gVisor (https://gvisor.dev) where the engine has its runsc."""
    return {"runtime": SANDBOX_RUNTIME} if SANDBOX_RUNTIME in runtimes else {}


def hardening(limits: Limits, *, cpus: int) -> dict[str, Any]:
    """Return limits and confinement, the same for every unit. cpus: how many the engine has."""
    options: dict[str, Any] = {
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "read_only": True,
        "tmpfs": {"/tmp": f"rw,nosuid,nodev,size={limits.tmp_size},mode=1777"},
        "pids_limit": limits.pids,
        "ulimits": [
            docker.types.Ulimit(name=name, soft=value, hard=value) for name, value in limits.ulimits.items()
        ],
        "log_config": docker.types.LogConfig(type="json-file", config={"max-size": "64m", "max-file": "1"}),
    }
    if limits.memory:
        options |= {"mem_limit": limits.memory, "memswap_limit": limits.memory}
    if not limits.shares_memory:
        options["ipc_mode"] = "none"
    if limits.cpus:
        options["nano_cpus"] = int(min(limits.cpus, cpus) * 1e9)
    return options


def network_mode(network: UnitNetwork) -> dict[str, Any]:
    """Return what a unit's kind of network needs beside the network's name."""
    match network:
        case "none" | "host":
            return {"network_mode": network}
        case "run":
            return {"dns": [_UNROUTABLE_DNS]}
        case "outside":
            return {}


def published_ports(unit: Unit) -> dict[str, tuple[str, int]]:
    """Return the SDK's port bindings: on the host's loopback address, never on one that others reach."""
    port = unit.published_port
    return {} if port is None else {f"{port}/tcp": ("127.0.0.1", port)}
