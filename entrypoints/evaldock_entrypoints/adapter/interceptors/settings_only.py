"""Steps that the adapter carries out itself: here they only bring their settings."""

from evaldock_entrypoints.adapter.interceptor import Interceptor
from evaldock_entrypoints.contract import interceptors as contract


class Caching(Interceptor[contract.Caching]):
    """The store of exchanges."""

    Config = contract.Caching


class Endpoint(Interceptor[contract.EndpointPolicy]):
    """How the endpoint is asked."""

    Config = contract.EndpointPolicy


class Streaming(Interceptor[contract.Streaming]):
    """What becomes of streamed answers."""

    Config = contract.Streaming
