"""What podman's Docker API accepts and does not do. Seen with podman 4.3; docs/podman.md has the list."""

from collections.abc import Iterable, Mapping

import docker
import requests

from evaldock.gpus import number_of
from evaldock.plan import Unit
from evaldock_entrypoints.contract.errors import ExecutionError

_NAME = "Podman Engine"
_TIMEOUT_S = 10


def is_podman(components: Iterable[Mapping[str, object]]) -> bool:
    """Tell whether the components that an engine's /version lists are podman's."""
    return any(component.get("Name") == _NAME for component in components)


def is_local_podman(docker_host: str) -> bool:
    """Tell whether it is this machine's podman that answers at this address."""
    if not docker_host.startswith("unix://"):
        return False
    client = docker.APIClient(base_url=docker_host, timeout=_TIMEOUT_S)
    try:
        return is_podman(client.version().get("Components") or ())
    except (docker.errors.DockerException, requests.RequestException):
        return False
    finally:
        client.close()


def refuse_sealing() -> None:
    """Raise ExecutionError: its networks leave the host in reach and resolve no names of containers."""
    raise _refusal("does not seal a network")


def refuse_ignored(unit: Unit) -> None:
    """Raise ExecutionError where the unit needs what this API ignores without a word."""
    if number_of(unit.gpus) != 0:
        raise _refusal("ignores requests for GPUs")
    if unit.role == "scoring":
        raise _refusal("does not say whether it enforces the limits of code that a model wrote")


def _refusal(what: str) -> ExecutionError:
    return ExecutionError(
        f"podman's Docker API {what}",
        where="the Docker engine that answers is podman",
        next_step="use execution.engine: podman (evaldock then calls podman itself)",
    )
