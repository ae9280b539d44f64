"""Docker through its SDK: networks and containers that are ours, hardened, and gone afterwards."""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import docker
import docker.errors
import docker.types
import requests
from docker.models.containers import Container as SdkContainer

from evaldock.engines.docker_options import device_requests, hardening, network_mode, published_ports, sandbox
from evaldock.engines.engine import STOP_GRACE_S, Exit, bounded
from evaldock.engines.gpus import ANSWER_TIMEOUT_S, NOT_THERE, Answer, counted_gpus, gpu_step, within
from evaldock.engines.image_check import no_image, refuse_other_image, with_id
from evaldock.engines.ownership import OWNER_LABEL, is_orphan, labels_of
from evaldock.engines.podman_api import is_podman, refuse_ignored, refuse_sealing
from evaldock.pins import ImagePin
from evaldock.plan import EngineName, Unit
from evaldock.untrusted_folders import new_file
from evaldock_entrypoints.contract.errors import ExecutionError

_API_TIMEOUT_S = 120
_ORPHAN_GRACE_S = 10
_LOCAL_URL = "http+docker://localhost"  # how the SDK writes a Unix socket


class Container:
    """A container; a context manager that starts and removes it, whatever happens."""

    def __init__(self, container: SdkContainer, unit: Unit, *, is_local: bool) -> None:
        self.unit = unit
        self.ended = threading.Event()
        self.gpus: tuple[str, ...] = ()
        self._is_local = is_local
        self._container = container
        self._waiter = threading.Thread(target=self._wait, daemon=True)

    def __enter__(self) -> Self:
        try:
            self._container.start()
            self._waiter.start()
            self.gpus = counted_gpus(self.unit, self._ask, is_local=self._is_local)
        except BaseException as error:
            self._remove()
            if isinstance(error, docker.errors.APIError):
                raise _start_error(self.unit, error) from error
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def stop(self, grace_s: int = STOP_GRACE_S) -> None:
        """Send TERM, then KILL after grace_s."""
        with contextlib.suppress(docker.errors.APIError, requests.RequestException):
            self._container.stop(timeout=grace_s)

    def exit(self) -> Exit:
        """Return how the ended container ended; raises ExecutionError where somebody removed it."""
        try:
            self._container.reload()
        except docker.errors.NotFound as error:
            raise ExecutionError(
                f"the {self.unit.role} container is gone: somebody removed it while it ran",
                where=f"image {self.unit.image.reference}",
                next_step="see who cleans up in this engine (docker system prune), then resume",
            ) from error
        state = self._container.attrs["State"]
        return Exit(
            code=int(state["ExitCode"]), out_of_memory=bool(state["OOMKilled"]), last_lines=self.last_lines()
        )

    def last_lines(self, count: int = 20) -> tuple[str, ...]:
        """Return the last lines of the container's output."""
        return tuple(self._container.logs(tail=count).decode(errors="replace").splitlines())

    def save_log(self, path: Path) -> None:
        """Write the container's whole output to a file."""
        with contextlib.suppress(docker.errors.DockerException, OSError), new_file(path) as file:
            file.write(self._container.logs())

    def _ask(self, argv: Sequence[str]) -> Answer | None:
        return within(ANSWER_TIMEOUT_S, lambda: self._answer(argv))

    def _answer(self, argv: Sequence[str]) -> Answer | None:
        try:
            code, output = self._container.exec_run(list(argv))
            assert isinstance(output, bytes)
            answer = Answer(code=int(code or 0), output=output.decode(errors="replace"))
        except (docker.errors.APIError, requests.RequestException):
            answer = Answer(code=min(NOT_THERE), output="")  # how newer engines say that it is not there
        return answer if self._is_running() else None

    def _is_running(self) -> bool:
        try:
            self._container.reload()
        except docker.errors.NotFound:
            return False
        return bool(self._container.status == "running")

    def _wait(self) -> None:
        while not self.ended.is_set():
            try:
                self._container.wait(timeout=_API_TIMEOUT_S)
            except (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError) as error:
                if "timed out" in str(error).lower():
                    continue  # still running
            except docker.errors.APIError:
                pass  # removed under us
            self.ended.set()

    def _remove(self) -> None:
        with contextlib.suppress(docker.errors.NotFound):
            self._container.remove(force=True, v=True)


class DockerEngine:
    """A connection to a Docker daemon on behalf of one run; a context manager."""

    name: EngineName = "docker"
    isolates = True

    def __init__(self, host: str | None, run_id: str, *, image_ids: Mapping[str, str] | None = None) -> None:
        self._run_id = run_id
        self._image_ids = image_ids or {}  # of pulled images, by the reference that pins them
        try:
            self._client = (
                docker.DockerClient(base_url=host, timeout=_API_TIMEOUT_S)
                if host
                else docker.from_env(timeout=_API_TIMEOUT_S)
            )
            self._client.ping()
            self._is_podman = is_podman(self._client.version().get("Components") or ())
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise ExecutionError(
                f"no Docker engine answers: {error}",
                where=host or os.environ.get("DOCKER_HOST", "the default socket"),
                next_step="start one (evaldock doctor says how), or point DOCKER_HOST at it",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    @functools.cached_property
    def _about(self) -> dict[str, Any]:
        return dict(self._client.info())

    def used(self, pin: ImagePin) -> ImagePin:
        """Return the pin with the ID of the image that is run."""
        return with_id(pin, self._image_ids)

    def sweep(self) -> list[str]:
        """Remove what runs on this host left behind whose process is gone; return the names."""
        removed = []
        ours: dict[str, str | list[str] | bool] = {"label": OWNER_LABEL}
        # Other runs come and go meanwhile, and may sweep the same.
        for container in self._client.containers.list(all=True, filters=ours, ignore_removed=True):
            if is_orphan(container.labels):
                with contextlib.suppress(docker.errors.NotFound):
                    container.stop(timeout=_ORPHAN_GRACE_S)  # an adapter writes what it was answered
                    container.remove(force=True, v=True)
                    removed.append(str(container.name))
        for network in self._client.networks.list(filters=ours):
            if is_orphan(network.attrs.get("Labels") or {}):
                with contextlib.suppress(docker.errors.NotFound):
                    network.remove()
                    removed.append(str(network.name))
        return removed

    @contextlib.contextmanager
    def network(self, *, internal: bool) -> Iterator[str]:
        """Make the run's network, yield its name, remove it."""
        if internal and self._is_podman:
            refuse_sealing()
        name = f"evaldock-{self._run_id}-{'run' if internal else 'out'}"
        # An internal bridge still has the host on it, and through it every port that the host listens on.
        options = {"com.docker.network.bridge.inhibit_ipv4": "true"} if internal else {}
        network = self._client.networks.create(
            name,
            driver="bridge",
            internal=internal,
            options=options,
            labels=labels_of(self._run_id),
            check_duplicate=True,
        )
        try:
            yield name
        finally:
            network.remove()

    def spelt(self, unit: Unit, text: str) -> str:  # noqa: ARG002 - the same for every unit
        """Return a path or an address of the unit's container as its processes spell it: as it is."""
        return text

    def create(
        self, unit: Unit, *, user: str, network: str | None, alias: str | None, secrets: Mapping[str, str]
    ) -> Container:
        """Create the unit's container, not yet started; raises ExecutionError or PinError."""
        if self._is_podman:
            refuse_ignored(unit)
        unit = bounded(unit, int(self._about.get("MemTotal", 0)))
        try:
            container = self._client.containers.create(
                image=self._verified(unit),
                command=list(unit.argv),
                name=f"evaldock-{self._run_id}-{unit.name}",
                environment={**unit.settings, **secrets},
                labels=labels_of(self._run_id),
                user=user,
                network=network,
                networking_config=self._aliases(network, alias),
                **network_mode(unit.network),
                ports=published_ports(unit),
                **hardening(unit.limits, cpus=int(self._about["NCPU"])),
                **(sandbox(self._about.get("Runtimes") or {}) if unit.role == "scoring" else {}),
                mounts=[
                    docker.types.Mount(
                        target=mount.target, source=mount.source, type="bind", read_only=mount.read_only
                    )
                    for mount in unit.mounts
                ],
                device_requests=device_requests(unit.gpus),
            )
        except docker.errors.APIError as error:
            raise _start_error(unit, error) from error
        return Container(container, unit, is_local=self._client.api.base_url == _LOCAL_URL)

    def _verified(self, unit: Unit) -> str:
        """Return the reference to run by, after comparing the engine's image with the pin."""
        pin = unit.image
        reference = self.used(pin).image_id or pin.reference
        try:
            image = self._client.images.get(reference)
        except docker.errors.ImageNotFound as error:
            raise no_image(pin, reference) from error
        refuse_other_image(pin, str(image.id), image.attrs.get("RepoDigests") or [])
        return str(image.id)

    def _aliases(self, network: str | None, alias: str | None) -> dict[str, Any] | None:
        if network is None or alias is None:
            return None
        return {network: self._client.api.create_endpoint_config(aliases=[alias])}


@contextlib.contextmanager
def engine_failures(docker_host: str) -> Iterator[None]:
    """Raise ExecutionError for what a Docker engine refuses, and for one that goes away during a run."""
    try:
        yield
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise ExecutionError(
            f"the container engine fails: {error}",
            where=docker_host,
            next_step="see that it runs (evaldock doctor), then try again",
        ) from error


def _start_error(unit: Unit, error: docker.errors.APIError) -> ExecutionError:
    explanation = str(error.explanation or error)
    step = gpu_step(explanation, unit.gpus) or "evaldock doctor names what is missing"
    if unit.published_port is not None and ("already allocated" in explanation or "in use" in explanation):
        step = f"port {unit.published_port} is in use: choose another, -o deployment.port=PORT"
    return ExecutionError(
        f"the {unit.role} container does not start: {explanation}",
        where=f"image {unit.image.reference}",
        next_step=step,
    )
