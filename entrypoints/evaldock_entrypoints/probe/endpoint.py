"""Does this endpoint answer? As NeMo's Python API asks, but bounded, with the key, and with no silent no."""

import os

from evaldock_entrypoints.contract.endpoint import endpoint_at
from evaldock_entrypoints.contract.framework import EndpointType
from evaldock_entrypoints.contract.secrets import key_value
from evaldock_entrypoints.probe.exchange import Probe
from evaldock_entrypoints.probe.readiness import wait_until_ready

MAX_RETRIES, RETRY_INTERVAL_S = 600, 2.0


def check_endpoint(
    endpoint_url: str,
    endpoint_type: EndpointType,
    model_name: str,
    api_key_name: str | None = None,
    max_retries: int = MAX_RETRIES,
    retry_interval: float = RETRY_INTERVAL_S,
) -> bool:
    """Return True once the endpoint answers truthfully; raises EndpointError where it does not, or in vain.

    It is waited for max_retries times retry_interval seconds at most. A refusal (wrong key, unknown model,
    missing route) ends the waiting at once. api_key_name: the NAME of the variable with the key; UsageError
    where that is not set.
    """
    endpoint = endpoint_at(
        endpoint_url, model_id=model_name, endpoint_type=endpoint_type, api_key_name=api_key_name
    )
    probe = Probe(endpoint=endpoint, api_key=key_value(api_key_name, os.environ))
    wait_until_ready(probe, max_retries * retry_interval)
    return True
