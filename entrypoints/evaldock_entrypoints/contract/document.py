"""The models of the YAML document `evaldock/v1` (contract, section 1)."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from evaldock_entrypoints.contract.framework import EndpointType

DeploymentType = Literal[
    "vllm",
    "pytriton",
    "ray",
    "transformers",
    "llamacpp",
    "sglang",
    "nim",
    "trtllm",
    "nemo_framework",
    "generic",
    "none",
]
Network = Literal["auto", "sealed", "open"]


def _aliased(name: str, *others: str) -> AliasChoices:
    return AliasChoices(name, *others)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, protected_namespaces=())


class Deployment(_Strict):
    """Who serves the model."""

    type: DeploymentType = "none"
    model_path: str | None = Field(
        default=None, validation_alias=_aliased("model_path", "checkpoint_path", "hf_model_handle")
    )
    served_model_name: str | None = None
    image: str | None = None
    port: int = Field(default=8080, ge=1, le=65535)
    tensor_parallelism: int = Field(
        default=1,
        ge=1,
        validation_alias=_aliased("tensor_parallelism", "tensor_parallel_size", "tensor_model_parallel_size"),
    )
    pipeline_parallelism: int = Field(
        default=1, ge=1, validation_alias=_aliased("pipeline_parallelism", "pipeline_parallel_size")
    )
    context_parallelism: int = Field(
        default=1, ge=1, validation_alias=_aliased("context_parallelism", "context_parallel_size")
    )
    expert_parallelism: int = Field(
        default=1, ge=1, validation_alias=_aliased("expert_parallelism", "expert_parallel_size")
    )
    data_parallelism: int = Field(
        default=1, ge=1, validation_alias=_aliased("data_parallelism", "data_parallel_size")
    )
    replicas: int = Field(default=1, ge=1)
    num_nodes: int = Field(default=1, ge=1)
    max_model_len: int | None = Field(default=None, ge=1)
    max_batch_size: int | None = Field(default=None, ge=1)
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    cuda_graphs: bool = True
    flash_decoding: bool = False
    dtype: str = "auto"
    extra_args: list[str] = Field(default_factory=list)
    readiness_timeout: float = Field(default=600, gt=0)
    resource_shape: str | None = None
    gpus: "Gpus | None" = None


class ApiEndpoint(_Strict):
    """An OpenAI-compatible endpoint."""

    url: str | None = None
    model_id: str | None = None
    type: EndpointType | None = None
    api_key_name: str | None = None
    adapter_config: dict[str, Any] | None = None


class Target(_Strict):
    """What is evaluated."""

    api_endpoint: ApiEndpoint = Field(default_factory=ApiEndpoint)
    auxiliary: dict[str, ApiEndpoint] = Field(default_factory=dict)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value >= 1 and value.is_integer() else value


def _items_or_share(value: int | float) -> int | float:
    if isinstance(value, float) and value >= 1:
        raise ValueError("a number of items is whole, and a share lies below 1")
    return value


Limit = Annotated[
    int | float, BeforeValidator(_whole), AfterValidator(_items_or_share), Field(gt=0)
]  # items, or a share below 1


class Params(_Strict):
    """Parameters of one task; None here means "not set in this layer"."""

    limit_samples: Limit | None = None
    parallelism: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_new_tokens: int | None = Field(default=None, ge=1)
    request_timeout: float | None = Field(default=None, gt=0)
    max_retries: int | None = Field(default=None, ge=0)
    seed: int | None = None
    repeats: int | None = Field(default=None, ge=1)
    extra: dict[str, Any] = Field(default_factory=dict)


DEFAULT_PARAMS: dict[str, Any] = {
    "limit_samples": None,
    "parallelism": 16,
    "temperature": 0.0,
    "top_p": 1.0,
    "max_new_tokens": 512,
    "request_timeout": 300,
    "max_retries": 5,
    "seed": 42,
    "repeats": 1,
}


class TaskRequest(_Strict):
    """One task as the user asked for it; a bare string is its name."""

    name: str
    params: Params = Field(default_factory=Params)


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Evaluation(_Strict):
    """The tasks of a run."""

    tasks: list[Annotated[TaskRequest, BeforeValidator(_named)]] = Field(min_length=1)
    params: Params = Field(default_factory=Params)  # for every task, below the task's own
    gpus: "Gpus | None" = None


class Data(_Strict):
    """Benchmark data that is not in the image."""

    path: str | None = None
    hf_endpoint: str | None = None
    hf_token_name: str = "HF_TOKEN"
    offline: bool = False


Gpus = Literal["all", "none"] | Annotated[int, Field(ge=0)] | list[int]


class Execution(_Strict):
    """Where the containers run."""

    type: Literal["local", "slurm", "lepton", "kubernetes"] = Field(
        default="local", validation_alias=_aliased("type", "backend")
    )
    engine: Literal["auto", "docker", "podman", "host"] = "auto"
    gpus: Gpus = "none"
    network: Network = "auto"
    allow_code_execution: bool = True  # in the network-less scoring container
    time_limit: str | None = Field(default=None, pattern=r"^(\d+-)?\d{1,3}:\d{2}:\d{2}$")
    partition: str | None = None
    account: str | None = None
    nodes: int | None = Field(default=None, ge=1)
    gpus_per_node: int | None = Field(default=None, ge=0)
    container_runtime: Literal["pyxis", "apptainer", "oci", "docker", "host"] | None = None
    resource_shape: str | None = None
    memory: str | None = None  # limit of the harness container, such as "4g"

    def time_limit_s(self) -> int | None:
        """Return the seconds of `[days-]hours:minutes:seconds`, as Slurm writes it."""
        if self.time_limit is None:
            return None
        days, _, clock = self.time_limit.rpartition("-")
        hours, minutes, seconds = map(int, clock.split(":"))
        return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


class Output(_Strict):
    """Where results go."""

    dir: str = "results"


class Document(_Strict):
    """The whole document."""

    deployment: Deployment = Field(default_factory=Deployment)
    target: Target = Field(default_factory=Target)
    evaluation: Evaluation
    data: Data = Field(default_factory=Data)
    execution: Execution = Field(default_factory=Execution)
    output: Output = Field(default_factory=Output)
    export: list[Literal["junit", "csv", "parquet", "mlflow", "wandb", "inspect"]] = Field(
        default_factory=list
    )

    def served_model_name(self) -> str | None:
        """Return served_model_name, else target.api_endpoint.model_id, else the last part of model_path."""
        path = self.deployment.model_path
        return (
            self.deployment.served_model_name
            or self.target.api_endpoint.model_id
            or (path.rstrip("/").rsplit("/", 1)[-1] if path else None)
        )
