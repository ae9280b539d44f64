"""Making an engine hold the images of registries: by digest, from the first place that gives them."""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import docker
import docker.errors
import requests

from evaldock.pins import ImagePin, candidates
from evaldock.registry import Registry, load_registry, without_tag
from evaldock.supply.refusals import Refusal, refusal
from evaldock.supply.steps import Report
from evaldock_entrypoints.contract.errors import EvaldockError, ExecutionError, PinError

_SILENCE_S = 300  # longest wait for the engine's next word
_SECOND_TRY_AFTER_S = 2.0


def pull_images(
    pins: Iterable[ImagePin], docker_host: str, *, report: Report, registry: Registry | None = None
) -> dict[str, str]:
    """Make the engine hold every image of a registry; returns the image IDs by the pins' references.

    Raises PinError where a place served other bytes than the digest names, else ExecutionError.
    """
    wanted = {pin.reference: pin for pin in pins if pin.origin in ("registry", "unpinned")}
    if not wanted:
        return {}
    registry = registry or load_registry()
    client = docker.DockerClient(base_url=docker_host, timeout=_SILENCE_S)
    try:
        return {
            reference: _held(client, pin)
            or first_given(pin, candidates(pin, registry), partial(_pull, client, pin), report)
            for reference, pin in wanted.items()
        }
    finally:
        client.close()


def _held(client: docker.DockerClient, pin: ImagePin) -> str | None:
    """Return the image ID where the engine has the image already, under whatever name."""
    if pin.digest is None:
        try:
            return str(client.images.get(pin.reference).id)
        except docker.errors.ImageNotFound:
            return None
    for image in client.api.images():
        if _has_digest(image.get("RepoDigests"), pin.digest):
            return str(image["Id"])
    return None


def first_given(pin: ImagePin, references: Sequence[str], pull: Callable[[str], str], report: Report) -> str:
    """Return the image ID from the first reference that can be pulled; raises PinError or ExecutionError."""
    refusals: dict[str, Refusal] = {}
    for pause_s in (0.0, _SECOND_TRY_AFTER_S):
        time.sleep(pause_s)
        for reference in references:
            if reference in refusals and refusals[reference].kind != "no answer":
                continue
            report(f"pulling {reference}")
            try:
                return pull(reference)
            except (docker.errors.DockerException, requests.RequestException, ExecutionError) as error:
                refusals[reference] = refusal(reference, str(getattr(error, "explanation", None) or error))
                report(str(refusals[reference]))
        if all(each.kind != "no answer" for each in refusals.values()):
            break
    raise _none_gave_it(pin, list(refusals.values()))


def _pull(client: docker.DockerClient, pin: ImagePin, reference: str) -> str:
    """Pull with the login that the caller's docker configuration has; the engine checks every digest."""
    repository = without_tag(reference)
    tag = reference.partition("@")[2] or reference[len(repository) + 1 :] or "latest"
    for line in client.api.pull(repository, tag=tag, stream=True, decode=True):
        if "error" in line:
            raise docker.errors.DockerException(line["error"])
    image = client.images.get(reference)
    if pin.digest is not None and not _has_digest(image.attrs.get("RepoDigests"), pin.digest):
        raise docker.errors.DockerException(f"what came does not match {pin.digest}")
    return str(image.id)


def _has_digest(references: Sequence[str] | None, digest: str) -> bool:
    return any(reference.partition("@")[2] == digest for reference in references or ())


def _none_gave_it(pin: ImagePin, refusals: Sequence[Refusal]) -> EvaldockError:
    where = "\n  ".join(map(str, refusals))
    kinds = {each.kind for each in refusals}
    if "other bytes" in kinds:
        return PinError(
            f'a registry serves other bytes than the digest of the image "{pin.name}" names',
            where=where,
            next_step="do not use that registry; ask who runs it",
        )
    step = "see that the registry is reachable, or name a mirror (docs/registry.md)"
    if "not authorised" in kinds:
        step = "log in (docker login REGISTRY): the logins of your own docker configuration are used"
    elif kinds == {"not there"}:
        step = "check the reference; a mirror has what was copied there and no more"
    return ExecutionError(f'no registry gave the image "{pin.name}"', where=where, next_step=step)
