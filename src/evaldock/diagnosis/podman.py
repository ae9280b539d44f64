"""The podman command, and what it says about itself."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from evaldock.diagnosis.tools import ask

_INFO_TIMEOUT_S = 6.0  # the first call of a user makes the storage


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel)


class Security(_Answer):
    """How podman confines."""

    rootless: bool = False
    seccomp_enabled: bool = False
    seccomp_profile_path: str = ""


class OciRuntime(_Answer):
    """What starts its containers."""

    name: str = "unknown"


class Host(_Answer):
    """The machine as podman sees it."""

    cgroup_manager: str = "unknown"
    cgroup_version: str = "v1"
    cgroup_controllers: Annotated[tuple[str, ...], BeforeValidator(lambda value: tuple(value or ()))] = ()
    network_backend: str = "unknown"
    oci_runtime: OciRuntime = OciRuntime()
    security: Security = Security()
    service_is_remote: bool = False


class Store(_Answer):
    """Where it keeps images."""

    graph_driver_name: str = "unknown"
    graph_root: str = ""


class Release(_Answer):
    """Which podman."""

    version: str = Field(default="of unknown version", alias="Version")
    api_version: str = Field(default="unknown", alias="APIVersion")


class Info(_Answer):
    """What `podman info` says, as far as it matters here."""

    host: Host = Host()
    store: Store = Store()
    version: Release = Release()


@dataclass(frozen=True, kw_only=True)
class Podman:
    """A podman command. trouble: why it is of no use, None when it works."""

    info: Info
    trouble: str | None = None


def probe() -> Podman | None:
    """Ask podman for its state; None where there is no such command."""
    answer = ask(["podman", "info", "--format", "json"], _INFO_TIMEOUT_S)
    if answer is None:
        return None
    if answer.code != 0:
        return Podman(info=Info(), trouble=answer.first_line)
    try:
        return Podman(info=Info.model_validate_json(answer.output))
    except ValidationError:
        return Podman(info=Info(), trouble="`podman info` answers in an unknown form")
