"""Podman through its own command line, which tells the truth where its Docker API does not.

That API (4.3) takes requests for GPUs and gives none, has no names of containers on a plain network, and
needs a service process; docs/podman.md has the list. The command line has what is needed, root or not.

The run's network is the server's own: it has a loopback and nothing else, and the other containers join it.
So there is no bridge, no host and no resolver in it, and no packet-filter rule to leave behind.
"""

import contextlib
import os
import select
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from evaldock.engines.engine import STOP_GRACE_S, Exit, bounded
from evaldock.engines.gpus import ANSWER_TIMEOUT_S, Answer, counted_gpus, gpu_step, silent
from evaldock.engines.image_check import no_image, refuse_other_image, with_id
from evaldock.engines.memory_watch import MemoryWatch, watch_memory
from evaldock.engines.ownership import OWNER_LABEL, is_orphan, labels_of
from evaldock.engines.podman_command import PodmanCommand, PodmanError, podman_folder
from evaldock.engines.podman_options import (
    create_options,
    joined_options,
    loopback_options,
    published_options,
)
from evaldock.engines.podman_seccomp import seccomp_options
from evaldock.pins import ImagePin
from evaldock.plan import SERVER_ALIAS, EngineName, Unit
from evaldock.untrusted_folders import new_file
from evaldock_entrypoints.contract.errors import ExecutionError

_REMOVE = ("rm", "--force", "--depend", "--ignore", "--volumes", "--time=0")
_END_TIMEOUT_S = 10.0
_ORPHAN_GRACE_S = 10
_HOSTS = f"127.0.0.1\tlocalhost {SERVER_ALIAS}\n::1\tlocalhost\n"


class PodmanContainer:
    """A container; a context manager that starts and removes it, whatever happens."""

    def __init__(self, podman: PodmanCommand, identity: str, unit: Unit) -> None:
        self.unit = unit
        self.ended = threading.Event()
        self.gpus: tuple[str, ...] = ()
        self._podman = podman
        self._identity = identity
        self._memory: MemoryWatch | None = None
        self._waiter: threading.Thread | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
            self.gpus = counted_gpus(self.unit, self._ask, is_local=True)
        except BaseException as error:
            self._close()
            if isinstance(error, PodmanError):
                raise _start_error(self.unit, error) from error
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def stop(self, grace_s: int = STOP_GRACE_S) -> None:
        """Send TERM, then KILL after grace_s."""
        with contextlib.suppress(PodmanError):
            self._podman.run(["stop", f"--time={grace_s}", self._identity])

    def exit(self) -> Exit:
        """Return how the ended container ended; raises ExecutionError where somebody removed it."""
        code = int(self._podman.output(["wait", self._identity]))
        return Exit(code=code, out_of_memory=self._ran_out_of_memory(), last_lines=self.last_lines())

    def last_lines(self, count: int = 20) -> tuple[str, ...]:
        """Return the last lines of the container's output."""
        done = self._podman.run(["logs", f"--tail={count}", self._identity], merged=True)
        return tuple(done.stdout.decode(errors="replace").splitlines())

    def save_log(self, path: Path) -> None:
        """Write the container's whole output to a file."""
        with contextlib.suppress(PodmanError, OSError), new_file(path) as file:
            self._podman.write(["logs", self._identity], file)

    def _start(self) -> None:
        """Start in two steps, so that nothing of the container's life is missed."""
        self._podman.output(["init", self._identity])
        pid = int(self._inspect("{{.State.Pid}}"))
        self._memory = watch_memory(pid)
        self._waiter = threading.Thread(target=self._wait, args=(os.pidfd_open(pid),), daemon=True)
        self._waiter.start()
        self._podman.output(["start", self._identity])

    def _close(self) -> None:
        try:
            self._podman.output([*_REMOVE, self._identity])
        finally:
            if self._waiter is not None:
                self._waiter.join(_END_TIMEOUT_S)
            if self._memory is not None:
                self._memory.close()

    def _wait(self, process: int) -> None:
        ends = select.poll()
        ends.register(process, select.POLLIN)
        ends.poll()
        os.close(process)
        self.ended.set()

    def _ask(self, argv: Sequence[str]) -> Answer | None:
        try:
            argv = ["exec", self._identity, *argv]
            done = self._podman.run(argv, timeout_s=ANSWER_TIMEOUT_S, merged=True)
        except PodmanError as error:
            raise silent(ANSWER_TIMEOUT_S) from error
        if self._inspect("{{.State.Running}}") != "true":
            return None
        return Answer(code=done.returncode, output=done.stdout.decode(errors="replace"))

    def _ran_out_of_memory(self) -> bool:
        if self._memory is not None:
            return self._memory.ran_out()
        return self._inspect("{{.State.OOMKilled}}") == "true"

    def _inspect(self, template: str) -> str:
        return self._podman.output(["container", "inspect", f"--format={template}", self._identity])


class PodmanEngine:
    """podman on behalf of one run; a context manager."""

    name: EngineName = "podman"
    isolates = True

    def __init__(
        self, podman: PodmanCommand, run_id: str, *, image_ids: Mapping[str, str] | None = None
    ) -> None:
        self._podman = podman
        self._run_id = run_id
        self._image_ids = image_ids or {}  # of pulled images, by the reference that pins them
        self._server: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def used(self, pin: ImagePin) -> ImagePin:
        """Return the pin with the ID of the image that is run."""
        return with_id(pin, self._image_ids)

    def sweep(self) -> list[str]:
        """Remove what runs on this host left behind whose process is gone; return the names."""
        ours = f"--filter=label={OWNER_LABEL}"
        containers = {
            str(item["Names"][0]): str(item["Id"])
            for item in self._podman.listing(["ps", "--all", ours])
            if is_orphan(item["Labels"])
        }
        networks = [
            str(item["name"])
            for item in self._podman.listing(["network", "ls", ours])
            if is_orphan(item.get("labels") or {})
        ]
        if containers:
            # An adapter writes what it was answered before it ends.
            self._podman.run(["stop", "--ignore", f"--time={_ORPHAN_GRACE_S}", *containers.values()])
            self._podman.output([*_REMOVE, *containers.values()])
        if networks:
            self._podman.output(["network", "rm", "--force", *networks])
        return [*containers, *networks]

    @contextlib.contextmanager
    def network(self, *, internal: bool) -> Iterator[str]:
        """Make the run's network, yield its name, remove it.

        An internal one needs no making: it comes and goes with the server. Without root each container has a
        way out of its own.
        """
        name = f"evaldock-{self._run_id}-{'run' if internal else 'out'}"
        if internal or self._podman.rootless:
            yield name
            return
        labels = [f"--label={key}={value}" for key, value in labels_of(self._run_id).items()]
        self._podman.output(["network", "create", "--disable-dns", *labels, name])
        try:
            yield name
        finally:
            self._podman.output(["network", "rm", "--force", name])

    def spelt(self, unit: Unit, text: str) -> str:  # noqa: ARG002 - the same for every unit
        """Return a path or an address of the unit's container as its processes spell it: as it is."""
        return text

    def create(
        self, unit: Unit, *, user: str, network: str | None, alias: str | None, secrets: Mapping[str, str]
    ) -> PodmanContainer:
        """Create the unit's container, not yet started; raises ExecutionError or PinError."""
        _refuse_unbound(unit, self._podman)
        if self._podman.enforces_limits:
            unit = bounded(unit, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        image = self._verified(unit)
        argv = [
            *("create", f"--name=evaldock-{self._run_id}-{unit.name}"),
            *create_options(unit, user=user, labels=labels_of(self._run_id)),
            *self._seccomp_options(unit),
            *self._network_options(unit, network, alias),
            *self._user_options(unit, alias),
            *(f"--env={name}" for name in secrets),  # values by environment: argv is for all to read
            *(image, *unit.argv),
        ]
        try:
            identity = self._podman.output(argv, secrets=secrets).splitlines()[-1]
        except PodmanError as error:
            raise _start_error(unit, error) from error
        if alias == SERVER_ALIAS:
            self._server = identity
        return PodmanContainer(self._podman, identity, unit)

    def _network_options(self, unit: Unit, network: str | None, alias: str | None) -> list[str]:
        match unit.network:
            case "host":
                return ["--network=host"]
            case "outside":
                joined = [] if network is None or self._podman.rootless else [f"--network={network}"]
                return [*joined, *published_options(unit)]
            case "run" if alias != SERVER_ALIAS:
                assert self._server is not None, "the server comes first: the network is its own"
                return joined_options(self._server, _hosts_file())
            case _:
                return loopback_options(_hosts_file())

    def _seccomp_options(self, unit: Unit) -> list[str]:
        """Refuse namespaces of their own to a harness and to code of a model."""
        security = self._podman.info.host.security
        if not security.seccomp_enabled or unit.role not in ("evaluation", "scoring"):
            return []
        return seccomp_options(security.seccomp_profile_path)

    def _user_options(self, unit: Unit, alias: str | None) -> list[str]:
        """Without root: the caller's ids inside, so that results are the caller's."""
        if not self._podman.rootless:
            return []
        joins = unit.network == "run" and alias != SERVER_ALIAS
        return [f"--userns=container:{self._server}" if joins else "--userns=keep-id"]

    def _verified(self, unit: Unit) -> str:
        """Return the image's ID, after comparing podman's image with the pin."""
        pin = unit.image
        reference = self.used(pin).image_id or pin.reference
        wanted = ["image", "inspect", "--format={{.Id}} {{.RepoDigests}}", reference.removeprefix("sha256:")]
        try:
            found, _, digests = self._podman.output(wanted).partition(" ")
        except PodmanError as error:
            raise no_image(pin, reference) from error
        refuse_other_image(pin, f"sha256:{found}", digests.strip("[]").split())
        return found


def _refuse_unbound(unit: Unit, podman: PodmanCommand) -> None:
    """Raise ExecutionError where a limit matters and podman would drop it with a warning."""
    if podman.enforces_limits or not (unit.limits.memory or unit.role == "scoring"):
        return
    raise ExecutionError(
        f"podman here does not enforce the limits of the {unit.role} container (memory {unit.limits.memory})",
        where=f"podman {podman.info.version.version}, cgroup {podman.info.host.cgroup_version}, "
        f"{'rootless' if podman.rootless else 'root'}",
        next_step="run it as root, or on cgroup v2 with its controllers delegated, or use engine docker",
    )


def _hosts_file() -> Path:
    """Return the one file of names that sealed containers get."""
    path = podman_folder() / "hosts"
    if not path.is_file() or path.read_text(encoding="ascii") != _HOSTS:
        new = path.with_name(f".hosts.{os.getpid()}")
        new.write_text(_HOSTS, encoding="ascii")
        new.chmod(0o644)
        new.replace(path)
    return path


def _start_error(unit: Unit, error: PodmanError) -> ExecutionError:
    step = gpu_step(error.said, unit.gpus) or "evaldock doctor names what is missing"
    if "slirp4netns" in error.said:
        step = "install slirp4netns: without root it is podman's way out"
    return ExecutionError(f"the {unit.role} container does not start: {error.said}", next_step=step)
