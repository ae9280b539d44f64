"""Probes of endpoints under test."""

from evaldock_entrypoints.contract.endpoint import endpoint_at
from evaldock_entrypoints.contract.framework import EndpointType
from evaldock_entrypoints.probe import Probe

KEY = "sk-probe-canary-77"
KEY_NAME = "PROBE_KEY"


def probe_of(
    url: str,
    endpoint_type: EndpointType = "completions_logprob",
    *,
    model: str = "fake-model",
    key: str | None = None,
    timeout_s: float = 60.0,
) -> Probe:
    """Return a probe of the endpoint at url; a key goes by the name PROBE_KEY."""
    name = KEY_NAME if key else None
    made = endpoint_at(url, model_id=model, endpoint_type=endpoint_type, api_key_name=name)
    return Probe(endpoint=made, api_key=key, timeout_s=timeout_s)
