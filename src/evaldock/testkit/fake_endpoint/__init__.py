"""A seeded, deterministic OpenAI-compatible endpoint with known answers and injectable faults."""

from evaldock.testkit.fake_endpoint.errors import FakeEndpointError
from evaldock.testkit.fake_endpoint.running import RunningEndpoint, running_endpoint

__all__ = ["FakeEndpointError", "RunningEndpoint", "running_endpoint"]
