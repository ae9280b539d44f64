"""The endpoint that a command line means: an address, or the document that names one."""

import os
from dataclasses import dataclass
from pathlib import Path

from evaldock.document import read_documents
from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.endpoint import base_url, endpoint_at
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.framework import EndpointType
from evaldock_entrypoints.contract.secrets import key_value
from evaldock_entrypoints.contract.target import ApiEndpoint
from evaldock_entrypoints.contract.validation import validate
from evaldock_entrypoints.probe import Probe


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What a command line says of the endpoint; None is not given."""

    model_id: str | None
    type: EndpointType | None
    api_key_name: str | None


def probe_of(target: str, flags: Flags, *, timeout_s: float) -> tuple[Probe, EndpointType | None]:
    """Return a probe of the endpoint at an address or in a document, and the type that is asked for.

    Its model_id is empty where none is named. Raises UsageError.
    """
    named, keys = _named(target)
    name = flags.api_key_name or named.api_key_name
    wanted = flags.type or named.type
    endpoint = endpoint_at(
        named.url or "",
        model_id=flags.model_id or named.model_id or "",
        endpoint_type=wanted or "chat",
        api_key_name=name,
    )
    return Probe(
        endpoint=endpoint, api_key=key_value(name, {**os.environ, **keys}), timeout_s=timeout_s
    ), wanted


def _named(target: str) -> tuple[ApiEndpoint, dict[str, str]]:
    path = Path(target)
    if "://" in target or not (path.suffix in (".yaml", ".yml") or path.is_file()):
        return ApiEndpoint(url=base_url(target, place="URL")), {}
    read = read_documents([path], [])
    document = validate(Document, read.merged)
    if document.deployment.type != "none":
        port = document.deployment.port
        raise UsageError(
            "the document starts its server itself, so there is no endpoint to ask yet",
            where=f"{target}  deployment.type: {document.deployment.type}",
            next_step=f"evaldock deploy {target}, and with it up: evaldock check http://127.0.0.1:{port}/v1",
        )
    endpoint = document.target.api_endpoint
    if not endpoint.url:
        raise UsageError(
            "the document names no endpoint",
            where=f"{target}  target.api_endpoint.url",
            next_step="add target: {api_endpoint: {url: …}}",
        )
    base_url(endpoint.url, place=read.merged.place(("target", "api_endpoint", "url")))
    return endpoint, dict(read.keys)
