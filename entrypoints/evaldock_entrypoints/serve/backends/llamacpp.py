"""The embedded backend: our front over libllama, for one GGUF file on the processor."""

import re
from pathlib import Path

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.serve.backends import Launch
from evaldock_entrypoints.serve.processors import available_processors
from evaldock_entrypoints.serve.settings import ServeSettings

ENGINE = "evaldock_entrypoints.serve.engines.llamacpp"
DEFAULT_BATCH_SIZE = 16
DEFAULT_CACHE_MIB = 384
DEFAULT_QUEUE_BOUND = 1024
# Settings of the contract that this engine cannot follow, beyond their neutral value.
REFUSED = {
    "tensor_parallelism": "it computes on one processor",
    "pipeline_parallelism": "it computes on one processor",
    "context_parallelism": "it computes on one processor",
    "expert_parallelism": "it computes on one processor",
    "data_parallelism": "it computes on one processor",
    "replicas": "one container is one server",
    "num_nodes": "it computes on one processor",
    "gpu_memory_utilization": "it uses no GPU",
    "gpus": "it uses no GPU",
    "cuda_graphs": "it uses no GPU",
    "flash_decoding": "flash attention makes an answer depend on the others in its batch",
    "dtype": "the GGUF file fixes the precision",
    "quantization": "the GGUF file fixes the precision",
    "extra_args": "it has no arguments of its own",
}
FIRST_PART = re.compile(r"-00001-of-\d{5}\.gguf$")
ANY_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


def launch(settings: ServeSettings, python: str) -> Launch:
    """Return the command line of the engine. Raises UsageError."""
    _refuse(settings)
    model = _gguf_file(Path(settings.model_path or ""))
    values: dict[str, object] = {
        "model": model,
        "name": settings.served_model_name or model.stem,
        "host": settings.host,
        "port": settings.port,
        "max_model_len": settings.max_model_len or 0,
        "max_batch_size": settings.max_batch_size or DEFAULT_BATCH_SIZE,
        "kv_cache_mib": settings.kv_cache_mib or DEFAULT_CACHE_MIB,
        "threads": settings.threads or available_processors(),
        "queue_bound": settings.queue_bound or DEFAULT_QUEUE_BOUND,
    }
    flags = [part for name, value in values.items() for part in (f"--{name}", str(value))]
    return Launch(argv=(python, "-m", ENGINE, *flags))


def _refuse(settings: ServeSettings) -> None:
    for name, reason in REFUSED.items():
        field = ServeSettings.model_fields[name]
        if getattr(settings, name) != field.get_default(call_default_factory=True):
            raise UsageError(
                f"the llamacpp backend cannot follow {name}: {reason}",
                where=f"--{name} {getattr(settings, name)}",
                next_step=f"leave {name} out, or choose another backend",
            )


def _gguf_file(path: Path) -> Path:
    """Return the GGUF file that the path is or that the folder holds; of a split model its first part."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise UsageError(
            f"there is no model at {path}", where="--model_path", next_step="mount it, or check the path"
        )
    files = sorted(path.glob("*.gguf"))
    files = [file for file in files if FIRST_PART.search(file.name) or not ANY_PART.search(file.name)]
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise UsageError(
            f"{path} must hold exactly one GGUF model; found: {found}",
            where="--model_path",
            next_step="name the file itself",
        )
    return files[0]
