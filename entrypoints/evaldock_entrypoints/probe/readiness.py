"""Whether an endpoint answers what its type promises: few requests, and the first fault ends it."""

import time

from evaldock_entrypoints.probe.exchange import Probe
from evaldock_entrypoints.probe.failures import NotReadyError
from evaldock_entrypoints.probe.logprobs import prove_logprobs
from evaldock_entrypoints.probe.questions import ask_embedding, ask_text

_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.05, 2.0


def wait_until_ready(probe: Probe, wait_s: float) -> None:
    """Probe until the endpoint answers truthfully; raises EndpointError where it does not after wait_s.

    A question that is under way then is waited for all the same, up to the probe's timeout_s.
    """
    deadline = time.monotonic() + wait_s
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return check(probe)
        except NotReadyError:
            if time.monotonic() + pause_s > deadline:
                raise
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _LAST_PAUSE_S)


def check(probe: Probe) -> None:
    """Ask the endpoint what its type promises; raises NotReadyError or EndpointError."""
    match probe.endpoint.type:
        case "completions_logprob":
            prove_logprobs(probe)
        case "embedding":
            ask_embedding(probe)
        case _:
            ask_text(probe, probe.endpoint.type)
