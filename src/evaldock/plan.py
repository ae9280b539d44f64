"""The Plan: a plain, serialisable list of containers that an executor carries out."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel

from evaldock.pins import ImagePin
from evaldock_entrypoints.contract.adapter import AdapterSettings
from evaldock_entrypoints.contract.endpoint import Endpoint
from evaldock_entrypoints.contract.fields import Gpus

SERVER_ALIAS = "server"
ADAPTER_FOLDER = "adapter"  # below the run's: the adapter's settings, its status, and socket/
SETTINGS_NAME = "settings.json"

# run: the run's internal network; host: the host's own; outside: a bridge with a way out; none: loopback only
UnitNetwork = Literal["run", "host", "outside", "none"]
Networks = Mapping[UnitNetwork, str]  # those that an engine made for a run, by their kind
Role = Literal["server", "probe", "adapter", "evaluation", "scoring"]
EngineName = Literal["auto", "docker", "podman", "host"]


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A bind mount; source is a path of the host, target one of the container."""

    source: str
    target: str
    read_only: bool = True
    key: str = ""  # of the document, where that names the source


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of one container. memory as in "512m"; None, and more processors than are there: the host's."""

    memory: str | None = None
    cpus: float | None = None
    pids: int = 4096
    tmp_size: str = "1g"
    open_files: int | None = None
    file_size_bytes: int | None = None
    shares_memory: bool = True  # whether the container has a /dev/shm

    @property
    def ulimits(self) -> dict[str, int]:
        """The limits that the kernel holds each process to, by their names in setrlimit(2)."""
        wanted = {"core": 0, "nofile": self.open_files, "fsize": self.file_size_bytes}
        return {name: value for name, value in wanted.items() if value is not None}


# One file may not fill /tmp, or one answer would deny the scores of the others.
SCORING_LIMITS = Limits(
    memory="1g",
    cpus=4.0,
    pids=128,
    tmp_size="128m",
    open_files=256,
    file_size_bytes=64 * 1024**2,
    shares_memory=False,
)

# Of a harness that scores within its own process: it is started again, and so is an adapter for it.
REPLAY_LIMITS = replace(SCORING_LIMITS, memory="4g", pids=512, tmp_size="512m", open_files=1024)


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One container."""

    name: str
    role: Role
    image: ImagePin
    argv: tuple[str, ...]
    network: UnitNetwork
    settings: Mapping[str, str] = field(default_factory=dict)  # environment, no secrets
    secret_names: tuple[str, ...] = ()  # variables handed over from the caller's environment
    mounts: tuple[Mount, ...] = ()
    gpus: Gpus = "none"
    limits: Limits = field(default_factory=Limits)
    published_port: int | None = None  # on the host's loopback address


@dataclass(frozen=True, kw_only=True)
class Server:
    """The model server, and the probe that says when it is ready."""

    unit: Unit
    probe: Unit
    readiness_timeout_s: float


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """The proxy between harnesses and endpoints; its settings hold its container's paths and addresses."""

    unit: Unit
    settings: AdapterSettings


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One task: its containers in order, and its folder below the run's."""

    harness: str
    task: str
    folder: str
    endpoint: Endpoint  # as the adapter reaches it
    units: tuple[Unit, ...]
    primary_metric: str | None
    limit_samples: float | None


@dataclass(frozen=True, kw_only=True)
class Executor:
    """Who runs the units, with the settings that the document gives for it."""

    type: Literal["local", "slurm", "lepton", "kubernetes"]
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Stop:
    """What lets the document be planned and not be carried out: a part not built yet, or a thing lacking."""

    what: str
    where: str
    next_step: str
    is_unbuilt: bool = True


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that an executor needs."""

    run_id: str
    run_dir: str
    user: str  # uid:gid
    executor: Executor
    engine: EngineName
    sealed: bool  # the harness reaches the adapter and nothing else
    unsafe_code: bool  # the document itself allows model code also where nothing isolates it
    time_limit_s: int | None  # of the whole run; each unit of a task is told it too
    server: Server | None
    adapter: Adapter | None
    evaluations: tuple[Evaluation, ...]
    stops: tuple[Stop, ...]
    document: Mapping[str, Any]
    notes: tuple[str, ...] = ()  # what of the document has no effect, and why

    @property
    def units(self) -> tuple[Unit, ...]:
        """Every container of the run."""
        servers = (self.server.unit, self.server.probe) if self.server else ()
        adapters = (self.adapter.unit,) if self.adapter else ()
        return (*servers, *adapters, *(unit for evaluation in self.evaluations for unit in evaluation.units))

    @property
    def images(self) -> dict[str, ImagePin]:
        """Every image by its name; the adapter's last, for building any other one builds it too."""
        units = sorted(self.units, key=lambda unit: unit.role == "adapter")
        return {unit.image.name: unit.image for unit in units}

    def as_json(self) -> str:
        """Return the plan as text, for --dry_run and golden tests."""
        return json.dumps(asdict(self), default=_as_tree, indent=2)


def _as_tree(value: BaseModel) -> Any:
    return value.model_dump(mode="json")
