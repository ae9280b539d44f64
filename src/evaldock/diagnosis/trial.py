"""`evaldock doctor --deep`: what an engine says of limits and owners, tried with containers built here."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from evaldock.diagnosis import own_engine
from evaldock.diagnosis.facts import Facts
from evaldock.diagnosis.finding import Finding, Section, lack, note, ok
from evaldock.engines.docker import DockerEngine, engine_failures
from evaldock.engines.engine import Exit
from evaldock.pins import ImagePin
from evaldock.plan import Limits, Mount, Unit
from evaldock.supply.host import ENGINE_PACKAGES, missing_packages, running_engine
from evaldock.supply.load import load_image
from evaldock.supply.lock import LockedImage, read_lock
from evaldock.supply.steps import Report
from evaldock_entrypoints.contract.errors import EvaldockError

_TRIAL_S = 30.0
_PYTHON = "/usr/bin/python3"
_TAKEN_MIB, _FORKS = 256, 64
_TAKE = f"taken = b'x' * ({_TAKEN_MIB} * 2**20); print('took it')"
_FORK = f"""
import os, time
for number in range({_FORKS}):
    try:
        if os.fork() == 0:
            time.sleep({_TRIAL_S})
    except OSError:
        print(number)
        raise SystemExit(0)
raise SystemExit(3)
"""
_WRITE = """
import os
open("/trial/file", "w").write("x")
state = os.statvfs("/dev/shm")
print(state.f_blocks * state.f_frsize // 2**20)
"""
_NOT_ENFORCED = "use a rootful engine or cgroup v2; code from models is not to run without limits"


def try_containers(facts: Facts, report: Report) -> Section:
    """Run three small containers in the engine and say what became of them; nothing of them stays."""
    return Section(title="tried", findings=tuple(_findings(facts, report)))


def _findings(facts: Facts, report: Report) -> Iterator[Finding]:
    image = read_lock().images.get("base")
    if image is None:
        yield note("trial containers", "no image to run, none is built here", "evaldock build base")
    elif facts.engine is None and (reason := _no_engine()):
        yield note("trial containers", f"no engine to run them in: {reason}")
    else:
        try:
            with trials(image, report) as trial:
                yield memory(trial)
                yield processes(trial)
                yield files(trial)
        except EvaldockError as error:
            yield lack("trial containers", error.message, error.next_step or "evaldock build base")


def _no_engine() -> str | None:
    """Return why our own engine cannot be started as things are: a diagnosis installs nothing."""
    return own_engine.blockers() or ", ".join(missing_packages(ENGINE_PACKAGES)) or None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An engine that holds the image that trial containers run."""

    engine: DockerEngine
    image: ImagePin

    def run(self, name: str, code: str, limits: Limits, mounts: tuple[Mount, ...] = ()) -> Exit | None:
        """Return how a container that runs the code ended, None when it had to be stopped."""
        unit = Unit(
            name=name,
            role="probe",
            image=self.image,
            argv=(_PYTHON, "-c", code),
            network="none",
            mounts=mounts,
            limits=limits,
        )
        user = f"{os.getuid()}:{os.getgid()}"
        with self.engine.create(unit, user=user, network=None, alias=None, secrets={}) as running:
            return running.exit() if running.ended.wait(_TRIAL_S) else None


@contextmanager
def trials(image: LockedImage, report: Report) -> Iterator[Trial]:
    """Yield an engine with the image, our own for as long as the block runs where none answers."""
    with running_engine(report=report) as host, engine_failures(host):
        image_id = load_image(image, host)
        pin = ImagePin(
            name=image.name,
            version=image.version,
            reference=image.reference,
            digest=image.digest,
            image_id=image_id,
            origin="built here",
        )
        with DockerEngine(host, f"doctor-{secrets.token_hex(4)}") as engine:
            yield Trial(engine=engine, image=pin)


def memory(trial: Trial, limit_mib: int = 64) -> Finding:
    """Return whether a container that takes more memory than its limit is killed."""
    what = "memory limit"
    ended = trial.run("memory", _TAKE, Limits(memory=f"{limit_mib}m"))
    if ended is None:
        return lack(what, "the trial container did not end", _NOT_ENFORCED)
    if ended.code == 0:
        found = f"not enforced: a container with {limit_mib} MiB took {_TAKEN_MIB} MiB"
        return lack(what, found, _NOT_ENFORCED)
    if ended.code != 137:
        return _odd(what, ended)
    told = "and the engine tells" if ended.out_of_memory else "but the engine does not tell why"
    return ok(what, f"enforced: a container that took more was killed, {told}")


def processes(trial: Trial, limit: int = 16) -> Finding:
    """Return whether a container can have more processes than its limit."""
    what = "process limit"
    ended = trial.run("processes", _FORK, Limits(pids=limit))
    if ended is None:
        return lack(what, "the trial container did not end", _NOT_ENFORCED)
    if ended.code == 3:
        return lack(what, f"not enforced: a container with {limit} had {_FORKS} processes", _NOT_ENFORCED)
    if ended.code != 0:
        return _odd(what, ended)
    return ok(what, f"enforced: {limit} allowed, the next one refused")


def files(trial: Trial) -> Finding:
    """Return whether a file that a container writes belongs to the caller."""
    what = "owner of files"
    with tempfile.TemporaryDirectory(prefix="evaldock-doctor-") as folder:
        mounts = (Mount(source=folder, target="/trial", read_only=False),)
        ended = trial.run("files", _WRITE, Limits(), mounts)
        written = Path(folder, "file")
        if ended is None or ended.code != 0 or not written.exists():
            return lack(
                what,
                "a container that runs as the caller cannot write a folder of the caller's",
                "use a rootful engine without userns-remap, or podman, which keeps your uid",
            )
        owner = written.stat().st_uid
    if owner != os.getuid():
        return lack(what, f"a file written by a container belongs to uid {owner}", "use a rootful engine")
    return ok(what, f"the caller; shared memory inside: {' '.join(ended.last_lines)} MiB")


def _odd(what: str, ended: Exit) -> Finding:
    last = ended.last_lines[-1] if ended.last_lines else "it said nothing"
    return lack(what, f"the trial container ended with status {ended.code}: {last}", "evaldock build base")
