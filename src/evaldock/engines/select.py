"""Which engine carries out a plan, with the plan's images at hand in it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from evaldock.engines.docker import DockerEngine, engine_failures
from evaldock.engines.engine import Engine
from evaldock.engines.host import HostEngine, cautions, refuse_model_code
from evaldock.engines.podman import PodmanEngine
from evaldock.engines.podman_api import is_local_podman
from evaldock.engines.podman_command import find_podman
from evaldock.engines.podman_images import load_image as load_into_podman
from evaldock.engines.podman_images import pull_images as pull_into_podman
from evaldock.plan import EngineName, Plan
from evaldock.supply.environments import environments_in_use, make_environments
from evaldock.supply.host import find_engine, running_engine
from evaldock.supply.load import load_image
from evaldock.supply.lock import read_lock
from evaldock.supply.pull import pull_images
from evaldock.supply.steps import Report
from evaldock_entrypoints.contract.errors import ExecutionError, NotBuiltError


def engine_for(plan: Plan, report: Report) -> AbstractContextManager[Engine]:
    """Return a context manager that yields the engine of the plan, its images loaded.

    Raises NotBuiltError, UsageError, ExecutionError or PinError.
    """
    opener = _OPENERS.get(plan.engine)
    if opener is None:
        raise NotBuiltError(f"the engine {plan.engine}", where=f"execution.engine: {plan.engine}")
    return opener(plan, report)


@contextmanager
def _docker(plan: Plan, report: Report) -> Iterator[Engine]:
    lock = read_lock()
    with running_engine(report=report) as host, engine_failures(host):
        for name, pin in plan.images.items():
            if pin.origin == "built here":
                load_image(lock.images[name], host)
        pulled = pull_images(plan.images.values(), host, report=report)
        with DockerEngine(host, plan.run_id, image_ids=pulled) as engine:
            yield engine


@contextmanager
def _host(plan: Plan, report: Report) -> Iterator[Engine]:
    refuse_model_code(plan, allowed=plan.unsafe_code)
    with environments_in_use():
        environments = make_environments(plan.images, report=report)
        with HostEngine(plan.run_id, environments) as engine:
            for caution in cautions(plan):
                report(caution)
            yield engine


@contextmanager
def _podman(plan: Plan, report: Report) -> Iterator[Engine]:
    podman = find_podman()
    if not podman.enforces_limits:
        report("podman here does not enforce limits of memory and processes: it drops them")
    lock = read_lock()
    for name, pin in plan.images.items():
        if pin.origin == "built here":
            load_into_podman(lock.images[name], podman)
    pulled = pull_into_podman(plan.images.values(), podman, report=report)
    with PodmanEngine(podman, plan.run_id, image_ids=pulled) as engine:
        yield engine


def _auto(plan: Plan, report: Report) -> AbstractContextManager[Engine]:
    if not auto_is_podman():
        return _docker(plan, report)
    report("using the podman of this machine")
    return _podman(plan, report)


def auto_is_podman() -> bool:
    """Tell whether `auto` is podman here: where no Docker answers and podman works; else it is Docker."""
    answering = find_engine()
    return _podman_works() if answering is None else is_local_podman(answering)


def _podman_works() -> bool:
    try:
        find_podman()
    except ExecutionError:
        return False
    return True


_OPENERS: Mapping[EngineName, Callable[[Plan, Report], AbstractContextManager[Engine]]] = {
    "auto": _auto,
    "docker": _docker,
    "podman": _podman,
    "host": _host,
}
