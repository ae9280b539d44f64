"""Questions to an endpoint: is it ready, is it truthful, and what can it be used for."""

from evaldock_entrypoints.probe.exchange import Probe
from evaldock_entrypoints.probe.failures import NotReadyError
from evaldock_entrypoints.probe.readiness import check, wait_until_ready

__all__ = ["NotReadyError", "Probe", "check", "wait_until_ready"]
