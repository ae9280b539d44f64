"""What `serve` was asked for: the contract's deployment block plus what only a server has."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from evaldock_entrypoints.contract.deployment import Deployment
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import KeyPath, Layer, merge
from evaldock_entrypoints.contract.reader import load_yaml
from evaldock_entrypoints.contract.validation import canonical, validate


class ServeSettings(Deployment):
    """The deployment block with the flags of `serve` laid over it; None means the backend's own default."""

    host: str = "0.0.0.0"
    threads: int | None = Field(default=None, ge=1)
    kv_cache_mib: int | None = Field(default=None, ge=1)
    queue_bound: int | None = Field(default=None, ge=1)
    quantization: str | None = None


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore")
    deployment: ServeSettings = Field(default_factory=ServeSettings)


def read_settings(config: Path | None, flags: dict[str, Any]) -> ServeSettings:
    """Lay the given flags over the document's deployment block. Raises UsageError with file and line."""
    layers = [canonical(load_yaml(config), _Document)] if config else []
    given = {name: value for name, value in flags.items() if value is not None}
    origins: dict[KeyPath, str] = {("deployment", name): f"--{name}" for name in given}
    layers.append(Layer(tree={"deployment": given}, origins=origins, name="command line"))
    settings = validate(_Document, merge(layers)).deployment
    if settings.model_path is None:
        raise UsageError("no model given", where="--model_path", next_step="--model_path /models/NAME")
    return settings
