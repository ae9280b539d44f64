"""What must hold before an engine is asked for anything: a refusal comes within seconds.

But for an endpoint that accepts and says nothing: a large model may take the minute that the probe gives it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from evaldock.executors.outcome import read_results
from evaldock.pins import refuse_missing
from evaldock.plan import Plan
from evaldock.supply.lock import lock_path
from evaldock_entrypoints.contract.errors import EvaldockError, NotBuiltError, PinError, UsageError
from evaldock_entrypoints.contract.layers import Merged, dotted
from evaldock_entrypoints.probe import Probe, key_value, wait_until_ready

_WAIT_S = 3.0  # one 429 or 503 is no reason to refuse


def refuse_unready(plan: Plan, merged: Merged, environ: Mapping[str, str]) -> None:
    """Raise an EvaldockError for anything that would make the run fail later, or its score lie."""
    for stop in plan.stops:
        kind = NotBuiltError if stop.is_unbuilt else UsageError
        raise kind(stop.what, where=stop.where, next_step=stop.next_step)
    for error in (*unset_keys(plan, merged, environ), *missing_paths(plan, merged)):
        raise error
    if plan.engine != "host":
        refuse_missing_images(plan)
    refuse_unready_endpoint(plan, environ)


def unset_keys(plan: Plan, merged: Merged, environ: Mapping[str, str]) -> Iterator[UsageError]:
    """Yield an error for each variable that the plan hands over and that is not set."""
    for name in dict.fromkeys(name for unit in plan.units for name in unit.secret_names):
        try:
            key_value(name, environ)
        except UsageError as error:
            error.where = merged.place(("target", "api_endpoint", "api_key_name"))
            yield error


def missing_paths(plan: Plan, merged: Merged) -> Iterator[UsageError]:
    """Yield an error for each path that the document names and that does not exist."""
    origins = {dotted(path): where for path, where in merged.origins.items()}
    for mount in dict.fromkeys(mount for unit in plan.units for mount in unit.mounts):
        if mount.key and not Path(mount.source).exists():
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


def refuse_unready_endpoint(plan: Plan, environ: Mapping[str, str]) -> None:
    """Raise EndpointError where an endpoint that is to be up already does not answer as it should."""
    if plan.server is not None:
        return
    pending = [
        evaluation
        for evaluation in plan.evaluations
        if read_results(Path(plan.run_dir) / evaluation.folder).get("status") != "complete"
    ]
    for endpoint in dict.fromkeys(evaluation.endpoint for evaluation in pending):
        key = key_value(endpoint.api_key_name, environ)
        wait_until_ready(Probe(endpoint=endpoint, api_key=key), _WAIT_S)


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
