"""A public base image, named by digest: fetched with the caller's registry settings and remembered."""

import re

from evaldock.supply import buildah
from evaldock.supply.lock import read_lock
from evaldock.supply.steps import Steps
from evaldock_entrypoints.contract.errors import ExecutionError, PinError, UsageError

BOOTSTRAP = "bootstrap"  # what `--base` says to leave a public base again

_REFERENCE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9.-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)+@sha256:[0-9a-f]{64}")
_OTHER_BYTES = re.compile(r"(does|did) not match", re.IGNORECASE)


def chosen_base(base: str | None) -> str | None:
    """Return the public base to build on: the one named, or that of the last build; None to bootstrap.

    Raises UsageError for a name without registry or digest.
    """
    if base == BOOTSTRAP:
        return None
    if base is None:
        locked = read_lock().images.get("base")
        return locked.public_base if locked else None
    if not _REFERENCE.fullmatch(base):
        raise UsageError(
            f'the base image "{base}" is named without a digest or registry',
            where="--base",
            next_step="name it as REGISTRY/REPOSITORY@sha256:… (no tag: it can mean another image tomorrow)",
        )
    return base


def fetch(storage: buildah.Storage, steps: Steps, reference: str) -> None:
    """Bring a public image into the storage.

    Raises PinError when the registry serves other bytes than the digest names, ExecutionError when none.
    """
    if buildah.has_image(storage, reference):
        return
    try:
        with steps.step(f"public base {reference}"):
            buildah.fetch(storage, steps, reference)
    except ExecutionError as error:
        if not _OTHER_BYTES.search(error.message):
            raise
        raise PinError(
            f"the registry serves other bytes than the digest names:\n{error.message}",
            where=reference,
            next_step="do not use this registry; ask who runs it",
        ) from error
