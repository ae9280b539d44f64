"""The deployment's units: the server, and the probe that says when it is ready."""

from pathlib import PurePosixPath

from evaldock.compiler.inputs import Inputs, is_hub_id
from evaldock.plan import Mount, Server, Unit
from evaldock_entrypoints.contract.errors import UsageError

_FLAGS = (
    "port",
    "max_model_len",
    "max_batch_size",
    "tensor_parallelism",
    "pipeline_parallelism",
    "context_parallelism",
    "expert_parallelism",
    "data_parallelism",
    "replicas",
    "num_nodes",
    "gpu_memory_utilization",
    "dtype",
    "cuda_graphs",
    "flash_decoding",
)


def server_of(inputs: Inputs, probe_image: str) -> Server | None:
    """Return the deployment's server, reached through the run's network; raises UsageError."""
    deployment = inputs.document.deployment
    if not inputs.deploys:
        return None
    server = _server(inputs)
    probe = Unit(
        name="probe",
        role="probe",
        image=inputs.pins[probe_image],
        argv=(
            *("run_eval", "check", "--model_url", inputs.base_url(), "--model_id", inputs.model_id()),
            *("--wait_s", f"{deployment.readiness_timeout:g}"),
        ),
        network="run",
    )
    return Server(unit=server, probe=probe, readiness_timeout_s=deployment.readiness_timeout)


def _server(inputs: Inputs) -> Unit:
    deployment = inputs.document.deployment
    model, mounts = _model(inputs)
    name = ("--served_model_name", inputs.model_id())
    return Unit(
        name="server",
        role="server",
        image=inputs.pins[deployment.type],
        argv=("serve", "--model_path", model, *name, *serve_flags(inputs, *_FLAGS)),
        network="run",
        mounts=mounts,
        gpus=inputs.gpus()[0],
    )


def _model(inputs: Inputs) -> tuple[str, tuple[Mount, ...]]:
    """Return the model as the server is told of it, and its mount; a hub id has none."""
    model_path = inputs.document.deployment.model_path
    if not model_path:
        raise UsageError(
            "a deployment needs a model",
            where=inputs.place("deployment", "model_path"),
            next_step="name a checkpoint: deployment: {model_path: /path/to/model}",
        )
    if is_hub_id(model_path):
        return model_path, ()
    target = f"/models/{PurePosixPath(inputs.path(model_path)).name}"
    return target, (inputs.mount(model_path, target, ("deployment", "model_path")),)


def numeric_flags(inputs: Inputs) -> tuple[str, ...]:
    """Return the flags that can move numbers: all but where the server listens."""
    return serve_flags(inputs, *(name for name in _FLAGS if name != "port"))


def serve_flags(inputs: Inputs, *names: str) -> tuple[str, ...]:
    """Return the flags of these names whose values the document sets, and its extra_args."""
    deployment = inputs.document.deployment
    written = deployment.model_fields_set | {"port"}
    values = {name: getattr(deployment, name) for name in names if name in written}
    flags = [
        part for name, value in values.items() if value is not None for part in (f"--{name}", _text(value))
    ]
    return (*flags, *deployment.extra_args)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
