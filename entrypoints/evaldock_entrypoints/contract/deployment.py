"""The `deployment` section: who serves the model."""

from typing import Literal

from pydantic import Field

from evaldock_entrypoints.contract.fields import Gpus, Strict, Switch, Whole, aliased

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


class Deployment(Strict):
    """Who serves the model. Without a deployment the endpoint must be up already."""

    type: DeploymentType = Field(default="none", description="the backend; none: target.api_endpoint is up")
    model_path: str | None = Field(
        default=None,
        validation_alias=aliased("model_path", "checkpoint_path", "hf_model_handle"),
        description="folder, file or hub id of the model",
    )
    served_model_name: str | None = Field(
        default=None,
        description="the name requests use; default: target.api_endpoint.model_id, else the path's last part",
    )
    image: str | None = Field(
        default=None, description="an image other than the one that the catalogue pins for this type"
    )
    command: list[str] | None = Field(
        default=None, description="type generic: the image's own command line, as a list"
    )
    port: Whole = Field(default=8080, ge=1, le=65535, description="the port the server listens on")
    tensor_parallelism: Whole = Field(
        default=1,
        ge=1,
        validation_alias=aliased("tensor_parallelism", "tensor_parallel_size", "tensor_model_parallel_size"),
        description="GPUs per layer",
    )
    pipeline_parallelism: Whole = Field(
        default=1,
        ge=1,
        validation_alias=aliased(
            "pipeline_parallelism", "pipeline_parallel_size", "pipeline_model_parallel_size"
        ),
        description="stages of layers",
    )
    context_parallelism: Whole = Field(
        default=1,
        ge=1,
        validation_alias=aliased("context_parallelism", "context_parallel_size"),
        description="parts of a sequence",
    )
    expert_parallelism: Whole = Field(
        default=1,
        ge=1,
        validation_alias=aliased("expert_parallelism", "expert_parallel_size", "expert_model_parallel_size"),
        description="groups of experts",
    )
    data_parallelism: Whole = Field(
        default=1,
        ge=1,
        validation_alias=aliased("data_parallelism", "data_parallel_size"),
        description="copies of the model in one server",
    )
    replicas: Whole = Field(default=1, ge=1, description="servers behind one address")
    num_nodes: Whole = Field(default=1, ge=1, description="machines of one server")
    max_model_len: Whole | None = Field(
        default=None, ge=1, description="prompt and answer together, in tokens"
    )
    max_batch_size: Whole | None = Field(default=None, ge=1, description="sequences computed together")
    gpu_memory_utilization: float | None = Field(
        default=None, gt=0, le=1, description="share of each GPU's memory that the server takes"
    )
    cuda_graphs: Switch = Field(default=True, description="record kernels once")
    flash_decoding: Switch = Field(default=False, description="split long contexts while generating")
    dtype: str = Field(default="auto", description="precision of the computation")
    extra_args: list[str] = Field(
        default_factory=list, description="further arguments of the server, one list item each"
    )
    readiness_timeout: float = Field(
        default=600, gt=0, description="seconds until the first true answer must have come"
    )
    resource_shape: str | None = Field(default=None, description="Lepton: as execution.resource_shape")
    gpus: Gpus | None = Field(
        default=None, description="the server's share of execution.gpus; default: all of them"
    )
