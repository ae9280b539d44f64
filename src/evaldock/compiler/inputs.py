"""What compiling starts from, and the facts that its parts share."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from evaldock.gpus import split_gpus
from evaldock.pins import ImagePin
from evaldock.plan import SERVER_ALIAS, Mount
from evaldock.registry import Registry
from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.endpoint import base_url, is_local
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.fields import Gpus
from evaldock_entrypoints.contract.framework import EndpointType
from evaldock_entrypoints.contract.layers import KeyPath, Merged, dotted
from evaldock_entrypoints.contract.served import wanted_type

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_FILES = (".gguf", ".nemo", ".qnemo", ".safetensors")
URL: KeyPath = ("target", "api_endpoint", "url")


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a plan needs to know of the machine."""

    run_id: str
    run_dir: str
    user: str
    working_dir: str  # relative paths of the document are relative to this
    model_stamp: str = ""  # what changes with the content of the deployment's model
    way_out: "WayOut" = field(default_factory=lambda: WayOut())


@dataclass(frozen=True, kw_only=True)
class WayOut:
    """How this machine reaches the world: the adapter needs it too, and a harness never gets it."""

    proxy_names: tuple[str, ...] = ()  # variables that are set; an address may hold a login
    proxy_is_local: bool = False  # a proxy listens on this machine's loopback
    certificates: str | None = None  # file of the authorities that this machine trusts


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """A document with the catalogue, the pins and the machine it is compiled for."""

    document: Document
    merged: Merged  # the tree as the run records it, with origins
    registry: Registry
    pins: Mapping[str, ImagePin]
    around: Surroundings

    @property
    def deploys(self) -> bool:
        return self.document.deployment.type != "none"

    def place(self, *path: str | int) -> str:
        """Return `file:line  dotted.key`."""
        return self.merged.place(path)

    def is_written(self, *path: str | int) -> bool:
        """Tell whether the document sets the key itself."""
        value: Any = self.merged.tree
        for part in path:
            if not isinstance(value, dict) or part not in value:
                return False
            value = value[part]
        return True

    def model_id(self) -> str:
        """Return the name that requests use; raises UsageError."""
        name = self.document.served_model_name()
        if not name:
            raise UsageError(
                "no model is named",
                where=self.place("target", "api_endpoint", "model_id"),
                next_step="add target: {api_endpoint: {model_id: NAME}}, the name that the endpoint serves",
            )
        return name

    def base_url(self) -> str:
        """Return the endpoint's address up to /v1, as the harness sees it; raises UsageError."""
        url = self.document.target.api_endpoint.url
        place = self.place(*URL)
        if self.deploys:
            self._refuse_other_endpoint(url, place)
            return f"http://{SERVER_ALIAS}:{self.document.deployment.port}/v1"
        if not url:
            raise UsageError(
                "nothing to evaluate: the document has neither a deployment nor an endpoint",
                where=place,
                next_step="add deployment: {type: …, model_path: …} or target: {api_endpoint: {url: …}}",
            )
        return base_url(url, place=place)

    def _refuse_other_endpoint(self, url: str | None, place: str) -> None:
        """A localhost address beside a deployment means the deployment; any other contradicts it."""
        if url and not is_local(base_url(url, place=place)):
            raise UsageError(
                "the document has a deployment and an endpoint elsewhere",
                where=place,
                next_step="keep one: remove the url, or set deployment: {type: none}",
            )

    def wanted_type(self) -> tuple[EndpointType | None, str]:
        """Return the endpoint type that the document asks for, by `type` or by the address's route."""
        endpoint = self.document.target.api_endpoint
        place = URL if endpoint.type is None else (*URL[:-1], "type")
        return wanted_type(endpoint), self.place(*place)

    def gpus(self) -> tuple[Gpus, Gpus]:
        """Return the GPUs of server and harness; raises UsageError."""
        execution, deployment = self.document.execution, self.document.deployment
        whole = execution.gpus
        if whole is None and deployment.gpus is None and self.deploys and self._needs_gpus(deployment.type):
            whole = "all"
        return split_gpus(whole, deployment.gpus, self.document.evaluation.gpus, deployed=self.deploys)

    def _needs_gpus(self, backend: str) -> bool:
        entry = self.registry.backends.get(backend)
        return entry is None or entry.gpus != "none"

    def path(self, text: str) -> str:
        """Return an absolute path of the host."""
        return str(PurePosixPath(self.around.working_dir) / text)

    def mount(self, text: str, target: str, key: KeyPath) -> Mount:
        """Return a read-only mount of a path that the document names under the key."""
        return Mount(source=self.path(text), target=target, key=dotted(key))


def is_hub_id(model_path: str) -> bool:
    """Tell whether it is `organisation/name` rather than a path; a path that exists is absolute by now."""
    return _HUB_ID.fullmatch(model_path) is not None and not model_path.endswith(_FILES)
