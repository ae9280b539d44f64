"""The `execution` section: where the containers run."""

from typing import Literal

from pydantic import Field

from evaldock_entrypoints.contract.fields import Gpus, Strict, Switch, Whole, aliased

Network = Literal["auto", "sealed", "open"]


class Execution(Strict):
    """Where the containers run."""

    type: Literal["local", "slurm", "lepton", "kubernetes"] = Field(
        default="local", validation_alias=aliased("type", "backend"), description="who runs the containers"
    )
    engine: Literal["auto", "docker", "podman", "host"] = Field(
        default="auto", description="local: the container engine; host: none, and no isolation"
    )
    gpus: Gpus | None = Field(
        default=None,
        description="all, none, a count, or device ids such as [0, 1]; default: all where the backend needs "
        "GPUs, else none",
    )
    network: Network = Field(
        default="auto",
        description="sealed: the harness reaches the model and nothing else, or the run is refused; "
        "auto: sealed where that can be, recorded; open: never sealed",
    )
    allow_code_execution: Switch = Field(
        default=True, description="run code that the model wrote, in a container without network"
    )
    time_limit: str | None = Field(
        default=None,
        pattern=r"^([0-9]+-)?[0-9]{1,3}:[0-9]{2}:[0-9]{2}$",
        validation_alias=aliased("time_limit", "walltime"),
        description="[days-]hours:minutes:seconds, then the run stops and can be resumed",
    )
    memory: str | None = Field(
        default=None,
        pattern=r"^[0-9]+[bkmg]?$",
        description="limit of each harness container, such as 4g; without one, four fifths of the machine's",
    )
    partition: str | None = Field(default=None, description="Slurm: partition")
    account: str | None = Field(default=None, description="Slurm: account")
    qos: str | None = Field(default=None, description="Slurm: quality of service")
    nodes: Whole | None = Field(
        default=None, ge=1, validation_alias=aliased("nodes", "num_nodes"), description="Slurm: nodes"
    )
    gpus_per_node: Whole | None = Field(default=None, ge=0, description="Slurm: GPUs of each node")
    cpus_per_task: Whole | None = Field(default=None, ge=1, description="Slurm: processors")
    container_runtime: Literal["pyxis", "apptainer", "oci", "docker", "host"] | None = Field(
        default=None, description="Slurm: what starts the containers on the nodes"
    )
    namespace: str | None = Field(default=None, description="Kubernetes: namespace")
    resource_shape: str | None = Field(default=None, description="Lepton: shape of the machine")
    node_group: str | None = Field(default=None, description="Lepton: node group")

    def time_limit_s(self) -> int | None:
        """Return the seconds of `[days-]hours:minutes:seconds`, as Slurm writes it."""
        if self.time_limit is None:
            return None
        days, _, clock = self.time_limit.rpartition("-")
        hours, minutes, seconds = map(int, clock.split(":"))
        return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


# keys that only some types of execution know
KEYS_OF_TYPES: dict[str, frozenset[str]] = {
    "partition": frozenset({"slurm"}),
    "account": frozenset({"slurm"}),
    "qos": frozenset({"slurm"}),
    "nodes": frozenset({"slurm"}),
    "gpus_per_node": frozenset({"slurm"}),
    "cpus_per_task": frozenset({"slurm"}),
    "container_runtime": frozenset({"slurm"}),
    "namespace": frozenset({"kubernetes"}),
    "resource_shape": frozenset({"lepton"}),
    "node_group": frozenset({"lepton"}),
    "engine": frozenset({"local"}),
    "memory": frozenset({"local", "slurm", "kubernetes"}),
}
