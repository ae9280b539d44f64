"""The images built here, and the catalogue of all."""

from collections.abc import Iterator

from evaldock.diagnosis.facts import Facts
from evaldock.diagnosis.finding import Finding, lack, ok
from evaldock.registry import load_registry
from evaldock.supply.layout import is_complete
from evaldock.supply.lock import read_lock
from evaldock.supply.paths import image_store
from evaldock_entrypoints.contract.errors import PinError


def findings(_facts: Facts) -> Iterator[Finding]:
    """Look at images.lock with its store, and at registry.yaml."""
    yield built()
    yield catalogue()


def built() -> Finding:
    """Return which images were built here, and whether the store still holds them."""
    images = [image for image in read_lock().images.values() if image.kind in ("harness", "backend")]
    broken = [image.name for image in images if not is_complete(image_store(), image.digest)]
    if broken:
        found = f"incomplete in {image_store()}: {', '.join(broken)}"
        return lack("images", found, f"evaldock build {' '.join(broken)}")
    if not images:
        return lack("images", "none built on this machine", "evaldock build")
    return ok("images", ", ".join(image.name for image in images))


def catalogue() -> Finding:
    """Return whether registry.yaml can be read."""
    try:
        registry = load_registry()
    except PinError as error:
        return lack("catalogue", f"{error.where}: {error.message}", "install evaldock again", needed=True)
    return ok("catalogue", f"{len(registry.harnesses)} harnesses, {len(registry.backends)} serving backends")
