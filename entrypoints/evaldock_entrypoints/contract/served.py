"""The models of a document as an adapter stands before them: of a run's, and of one beside run_eval alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evaldock_entrypoints.contract.adapter import Served, identity_of
from evaldock_entrypoints.contract.built_in_interceptors import ENDPOINT
from evaldock_entrypoints.contract.chain import chain_of, policy_of
from evaldock_entrypoints.contract.endpoint import base_url, type_of_route
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.framework import EndpointType
from evaldock_entrypoints.contract.layers import KeyPath, Merged
from evaldock_entrypoints.contract.target import ApiEndpoint, AuxiliaryEndpoint, Interceptor


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model of the document, before a task asks for it. base_urls: its own and those of its replicas."""

    wanted: ApiEndpoint
    base_urls: tuple[str, ...]
    model_id: str
    identity: str
    chain: tuple[Interceptor, ...]

    def served(self, endpoint_type: EndpointType, params: Mapping[str, Any]) -> Served:
        """Return it as a task with these parameters asks it: with bounds of its own, else the task's."""
        own = self.wanted if isinstance(self.wanted, AuxiliaryEndpoint) else AuxiliaryEndpoint()
        return Served(
            base_urls=list(self.base_urls),
            model_id=self.model_id,
            type=endpoint_type,
            api_key_name=self.wanted.api_key_name,
            identity=self.identity,
            interceptors=list(self.chain),
            request_timeout_s=float(own.request_timeout or params["request_timeout"]),
            max_retries=params["max_retries"] if own.max_retries is None else own.max_retries,
            stream=bool(self.wanted.stream),
        )


def model_at(wanted: ApiEndpoint, merged: Merged, path: KeyPath, *, url: str, model_id: str) -> Model:
    """Return the model at an address up to /v1; `path` is where it stands in `merged`. Raises UsageError."""
    config: KeyPath = (*path, "adapter_config")
    chain = chain_of(wanted.adapter_config, merged, config)
    replicas = (base_url(other, place=merged.place(config)) for other in policy_of(chain).replicas)
    return Model(
        wanted=wanted,
        base_urls=(url, *replicas),
        model_id=model_id,
        identity=identity_of(url.partition("?")[0], model_id),
        chain=_without_replicas(chain),
    )


def auxiliary_model(role: str, wanted: AuxiliaryEndpoint, merged: Merged) -> Model:
    """Return the further model of this role; raises UsageError."""
    path: KeyPath = ("target", "auxiliary", role)
    if not wanted.url or not wanted.model_id:
        lacking = "model_id" if wanted.url else "url"
        raise UsageError(
            f'the model for the role "{role}" has no {lacking}',
            where=merged.place((*path, lacking)),
            next_step=f"add it: target: {{auxiliary: {{{role}: {{url: …, model_id: …}}}}}}",
        )
    url = base_url(wanted.url, place=merged.place((*path, "url")))
    return model_at(wanted, merged, path, url=url, model_id=wanted.model_id)


def auxiliary_served(model: Model, params: Mapping[str, Any]) -> Served:
    """Return an auxiliary model as a task with these parameters asks it."""
    return model.served(auxiliary_type(model), params)


def auxiliary_type(model: Model) -> EndpointType:
    """Return the route by which a task asks an auxiliary model."""
    return wanted_type(model.wanted) or "chat"


def wanted_type(wanted: ApiEndpoint) -> EndpointType | None:
    """Return the endpoint type that a document asks for, by `type` or by the address's route."""
    return wanted.type or (type_of_route(wanted.url) if wanted.url else None)


def _without_replicas(chain: tuple[Interceptor, ...]) -> tuple[Interceptor, ...]:
    """Return the chain without the replicas, which stand beside the model's first address from now on."""
    return tuple(
        step.model_copy(update={"config": {k: v for k, v in step.config.items() if k != "replicas"}})
        if step.name == ENDPOINT
        else step
        for step in chain
    )
