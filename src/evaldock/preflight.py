"""What must hold before an engine is asked for anything: a refusal comes within seconds.

But for an endpoint that accepts and says nothing: a large model may take the minute that the probe gives it.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from evaldock.executors.outcome import read_results
from evaldock.pins import refuse_missing
from evaldock.plan import Plan
from evaldock.supply.lock import lock_path
from evaldock_entrypoints.contract.adapter import Served
from evaldock_entrypoints.contract.built_in_interceptors import BUILT_IN
from evaldock_entrypoints.contract.chain import policy_of
from evaldock_entrypoints.contract.endpoint import Endpoint, route_url
from evaldock_entrypoints.contract.errors import EvaldockError, NotBuiltError, PinError, UsageError
from evaldock_entrypoints.contract.layers import KeyPath, Merged, dotted
from evaldock_entrypoints.contract.secrets import key_value
from evaldock_entrypoints.contract.target import Interceptor
from evaldock_entrypoints.probe import NotReadyError, Probe, wait_until_ready

_ALTERING = ("payload_modifier", "drop_params")
_PAUSE_S = 0.25
_WAIT_S = 3.0  # one 429 or 503 is no reason to refuse


def refuse_unready(
    plan: Plan, merged: Merged, environ: Mapping[str, str], say: Callable[[str], None]
) -> None:
    """Raise an EvaldockError for anything that would make the run fail later, or its score lie."""
    for stop in plan.stops:
        kind = NotBuiltError if stop.is_unbuilt else UsageError
        raise kind(stop.what, where=stop.where, next_step=stop.next_step)
    for error in (*unset_keys(plan, merged, environ), *missing_paths(plan, merged)):
        raise error
    if plan.engine != "host":
        refuse_missing_images(plan)
    refuse_unready_endpoints(plan, environ, say)


def unset_keys(plan: Plan, merged: Merged, environ: Mapping[str, str]) -> Iterator[UsageError]:
    """Yield an error for each variable that the plan hands over and that is not set."""
    for name in dict.fromkeys(name for unit in plan.units for name in unit.secret_names):
        try:
            key_value(name, environ)
        except UsageError as error:
            error.where = merged.place(_written_at(name, merged))
            yield error


def _written_at(name: str, merged: Merged) -> KeyPath:
    """Return the key under which the document names this variable."""
    auxiliary = merged.tree.get("target", {}).get("auxiliary", {})
    roles = [role for role, endpoint in auxiliary.items() if endpoint.get("api_key_name") == name]
    endpoint = merged.tree.get("target", {}).get("api_endpoint", {})
    if roles and endpoint.get("api_key_name") != name:
        return ("target", "auxiliary", roles[0], "api_key_name")
    return ("target", "api_endpoint", "api_key_name")


def missing_paths(plan: Plan, merged: Merged) -> Iterator[UsageError]:
    """Yield an error for each path that is to be read and that does not exist; one to write to is made."""
    origins = {dotted(path): where for path, where in merged.origins.items()}
    for mount in dict.fromkeys(mount for unit in plan.units for mount in unit.mounts):
        if mount.key and mount.read_only and not Path(mount.source).exists():
            yield UsageError(
                f"{mount.source} does not exist",
                where="  ".join(part for part in (origins.get(mount.key), mount.key) if part),
                next_step="check the path in the document",
            )


def refuse_missing_images(plan: Plan) -> None:
    """Raise NotBuiltError or PinError for an image that nothing can run."""
    try:
        refuse_missing(plan.images.values())
    except PinError as error:
        error.where = error.where or f"{lock_path()} and the catalogue"
        raise


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """An address that is to answer before anything is started, and how long it may take."""

    endpoint: Endpoint
    wait_s: float
    as_it_is: bool  # the endpoint sees requests as a harness makes them, so ours tell how it answers those


def refuse_unready_endpoints(plan: Plan, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Raise EndpointError where an endpoint that is to be up already does not answer as it should."""
    if plan.server is not None:
        return
    for asked in dict.fromkeys(_asked(plan)):
        key = key_value(asked.endpoint.api_key_name, environ)
        probe = Probe(endpoint=asked.endpoint, api_key=key)
        _wait_until(wait_until_ready if asked.as_it_is else _wait_until_there, probe, asked.wait_s, say)


def _asked(plan: Plan) -> Iterator[_Asked]:
    """Yield every address that the pending tasks ask."""
    tasks = plan.adapter.settings.tasks if plan.adapter else {}
    for evaluation in plan.evaluations:
        if read_results(Path(plan.run_dir) / evaluation.folder).get("status") != "complete":
            task = tasks[evaluation.folder]
            for model in (task.target, *task.auxiliary.values()):
                yield from _addresses(model)


def _addresses(model: Served) -> Iterator[_Asked]:
    wait_s = max(_WAIT_S, policy_of(model.interceptors).readiness_timeout_s)
    for url in model.base_urls:
        endpoint = Endpoint(
            base_url=url,
            url=route_url(url, model.type),
            model_id=model.model_id,
            type=model.type,
            api_key_name=model.api_key_name,
        )
        yield _Asked(endpoint=endpoint, wait_s=wait_s, as_it_is=not any(map(_alters, model.interceptors)))


def _alters(step: Interceptor) -> bool:
    """Tell whether a step may make out of a refused request one that is answered."""
    return step.name in _ALTERING or step.name not in BUILT_IN


def _wait_until(
    wait: Callable[[Probe, float], None], probe: Probe, wait_s: float, say: Callable[[str], None]
) -> None:
    try:
        wait(probe, _WAIT_S)
    except NotReadyError:
        if wait_s <= _WAIT_S:
            raise
        say(f"waiting for endpoint {probe.endpoint.base_url}, at most {wait_s:.0f} s")
        wait(probe, wait_s - _WAIT_S)


def _wait_until_there(probe: Probe, wait_s: float) -> None:
    """Probe until anything answers: how, the harness's container asks through the adapter."""
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            probe.send("GET", probe.endpoint.url)
        except NotReadyError:
            if time.monotonic() > deadline_s:
                raise
        else:
            return
        time.sleep(_PAUSE_S)


def stops(plan: Plan, merged: Merged, environ: Mapping[str, str]) -> list[str]:
    """Return what a run of this plan would be refused for, short of asking engine and endpoint."""
    found = [
        f"{stop.what}{' is not built yet in this version' if stop.is_unbuilt else ''} ({stop.where})"
        for stop in plan.stops
    ]
    for error in (*unset_keys(plan, merged, environ), *missing_paths(plan, merged)):
        found.append(f"{error.message} ({error.where})")
    if plan.engine != "host":
        for pin in plan.images.values():
            try:
                refuse_missing([pin])
            except EvaldockError as refused:
                found.append(refused.message)
    return found
