"""Every address where a container engine may answer, and what it says about itself."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import docker
import requests
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_pascal

from evaldock.supply.dockerd import own_daemon
from evaldock.supply.host import context_host

ENGINE_TIMEOUT_S = 3
_USUAL = "unix:///var/run/docker.sock"

Trouble = Literal["absent", "refused", "forbidden", "silent", "strange"]


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where an engine may answer. tried: evaldock looks there by itself; named: by the caller's own wish."""

    url: str
    source: str
    tried: bool
    named: bool = False


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_pascal)


Words = Annotated[tuple[str, ...], BeforeValidator(lambda value: tuple(value or ()))]


class Component(_Answer):
    """One program that an engine is made of."""

    name: str


class Version(_Answer):
    """What /version says."""

    version: str
    api_version: str
    components: Annotated[tuple[Component, ...], BeforeValidator(lambda value: tuple(value or ()))] = ()


class Info(_Answer):
    """What /info says, as far as it matters here."""

    name: str = ""
    driver: str = "unknown"
    cgroup_driver: str = "unknown"
    cgroup_version: str = "1"  # older engines know one version only and do not say so
    docker_root_dir: str = ""
    memory_limit: bool = False
    swap_limit: bool = False
    pids_limit: bool = False
    cpu_cfs_quota: bool = False
    security_options: Words = ()
    runtimes: Words = ()
    cdi_spec_dirs: Words = Field(default=(), alias="CDISpecDirs")
    system_time: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine that answers."""

    address: Address
    version: Version
    info: Info
    ahead_s: float | None = None  # its clock minus ours

    @property
    def is_podman(self) -> bool:
        """Whether podman stands behind the Docker API."""
        return any("podman" in part.name.lower() for part in self.version.components)

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine, as far as its address tells."""
        return is_local(self.address.url)

    def secured_by(self, option: str) -> bool:
        """Tell whether a security option is on: rootless, userns."""
        return any(f"name={option}" in entry.split(",") for entry in self.info.security_options)


@dataclass(frozen=True, kw_only=True)
class DeadEngine:
    """An address where no engine answers, and why not."""

    address: Address
    trouble: Trouble
    detail: str = ""


def addresses(environ: Mapping[str, str] | None = None) -> list[Address]:
    """Return every place to look at, those that evaldock tries first; each socket once."""
    environ = os.environ if environ is None else environ
    seen: set[str] = set()
    found = []
    for address in [*_tried(environ), *_others(environ)]:
        if (place := _place(address.url)) not in seen:
            seen.add(place)
            found.append(address)
    return found


def probe(address: Address) -> Engine | DeadEngine:
    """Ask the engine at this address for its version and state."""
    try:
        _connect(address.url)
        client = docker.APIClient(base_url=address.url, version="1.40", timeout=ENGINE_TIMEOUT_S)
        try:
            version = client.get(f"{client.base_url}/version", timeout=ENGINE_TIMEOUT_S)
            info = client.get(f"{client.base_url}/info", timeout=ENGINE_TIMEOUT_S)
            return _read(address, version, info)
        finally:
            client.close()
    except (OSError, docker.errors.DockerException, ValidationError, ValueError) as error:
        return DeadEngine(address=address, trouble=_trouble(error), detail=_detail(error))


def is_local(url: str) -> bool:
    """Tell whether an engine's address is a socket or a loopback port of this machine."""
    parts = urlsplit(url)
    return parts.scheme in {"unix", "http+unix"} or parts.hostname in {"localhost", "127.0.0.1", "::1"}


def _tried(environ: Mapping[str, str]) -> Iterator[Address]:
    """Yield what evaldock.supply.host.find_engine tries, in its order."""
    if named := environ.get("DOCKER_HOST"):
        yield Address(url=named, source="DOCKER_HOST", tried=True, named=True)
    tried = not named
    if context := context_host():
        yield Address(url=context, source="the docker context", tried=tried, named=tried)
    yield Address(url=_USUAL, source="the usual socket", tried=tried)
    with contextlib.suppress(OSError):  # no cache folder can be made: a finding about disks
        yield Address(url=own_daemon().docker_host, source="evaldock's own", tried=tried)


def _others(environ: Mapping[str, str]) -> Iterator[Address]:
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    yield Address(url=f"unix://{runtime}/docker.sock", source="rootless docker's socket", tried=False)
    for folder in (runtime, "/run"):
        yield Address(url=f"unix://{folder}/podman/podman.sock", source="podman's socket", tried=False)


def _place(url: str) -> str:
    return str(Path(urlsplit(url).path).resolve()) if url.startswith("unix://") else url


def _connect(url: str) -> None:
    """Raise the OSError that says why nobody can be spoken to; the SDK hides it and leaks its socket."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ENGINE_TIMEOUT_S)
            connection.connect(parts.path)
    elif parts.scheme in {"tcp", "http", "https"}:
        port = parts.port or (443 if parts.scheme == "https" else 2375)
        socket.create_connection((parts.hostname or "", port), timeout=ENGINE_TIMEOUT_S).close()


def _read(address: Address, version: requests.Response, info: requests.Response) -> Engine:
    for response in (version, info):
        if not response.ok:
            raise ValueError(f"HTTP status {response.status_code}")
    state = Info.model_validate_json(info.content)
    return Engine(
        address=address,
        version=Version.model_validate_json(version.content),
        info=state,
        ahead_s=state.system_time.timestamp() - time.time() if state.system_time else None,
    )


def _trouble(error: Exception) -> Trouble:
    match error:
        case FileNotFoundError() | socket.gaierror():
            return "absent"
        case ConnectionRefusedError():
            return "refused"
        case PermissionError():
            return "forbidden"
        case TimeoutError() | requests.Timeout():
            return "silent"
        case _:
            return "strange"


def _detail(error: Exception) -> str:
    """Return what an answer was wrong about; an invalid one is named by its fields, not shown."""
    if isinstance(error, ValidationError):
        return "its answer lacks " + ", ".join(str(part["loc"][0]) for part in error.errors() if part["loc"])
    return type(error).__name__ if isinstance(error, requests.RequestException) else str(error)
