"""Which engine carries out a plan, with the plan's images at hand in it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from evaldock.engines.docker import DockerEngine
from evaldock.engines.engine import Engine
from evaldock.engines.host import HostEngine, cautions, refuse_model_code
from evaldock.plan import EngineName, Plan
from evaldock.supply.environments import make_environments
from evaldock.supply.host import running_engine
from evaldock.supply.load import load_image
from evaldock.supply.lock import read_lock
from evaldock.supply.pull import pull_images
from evaldock.supply.steps import Report
from evaldock_entrypoints.contract.errors import NotBuiltError


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
    with running_engine(report=report) as host:
        for name, pin in plan.images.items():
            if pin.origin == "built here":
                load_image(lock.images[name], host)
        pulled = pull_images(plan.images.values(), host, report=report)
        with DockerEngine(host, plan.run_id, image_ids=pulled) as engine:
            yield engine


@contextmanager
def _host(plan: Plan, report: Report) -> Iterator[Engine]:
    refuse_model_code(plan, allowed=bool(getattr(plan, "unsafe_code", False)))
    environments = make_environments(plan.images, report=report)
    with HostEngine(plan.run_id, environments) as engine:
        for caution in cautions(plan):
            report(caution)
        yield engine


_OPENERS: Mapping[EngineName, Callable[[Plan, Report], AbstractContextManager[Engine]]] = {
    "auto": _docker,
    "docker": _docker,
    "host": _host,
}
