"""What is asked once, before the subjects are looked at: engines, podman, GPUs, servers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from evaldock.diagnosis import contacts, engine_api, nvidia, podman
from evaldock.diagnosis.contacts import Contact, Target
from evaldock.diagnosis.engine_api import DeadEngine, Engine
from evaldock.diagnosis.nvidia import Nvidia
from evaldock.diagnosis.parallel import Race
from evaldock.diagnosis.podman import Podman

_PROBES_S = 8.0


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The answers. contacts: None when nobody was to be asked."""

    output: Path
    engines: tuple[Engine, ...] = ()
    dead: tuple[DeadEngine, ...] = ()
    podman: Podman | None = None
    nvidia: Nvidia = field(default_factory=lambda: Nvidia(driver="absent"))
    contacts: tuple[Contact, ...] | None = None

    @property
    def engine(self) -> Engine | None:
        """The engine that evaldock would use."""
        return next((engine for engine in self.engines if engine.address.tried), None)


def gather(output: Path, *, offline: bool) -> Facts:
    """Ask everybody at once; who does not answer in time counts as silent."""
    race = Race(_PROBES_S)
    engines = [
        race.start(partial(engine_api.probe, address), late=DeadEngine(address=address, trouble="silent"))
        for address in engine_api.addresses()
    ]
    pod = race.start(podman.probe, late=Podman(info=podman.Info(), trouble="it does not answer"))
    gpus = race.start(nvidia.probe, late=Nvidia(driver="silent"))
    asked = [] if offline else [_start(race, target) for target in contacts.targets()]
    answers = [engine() for engine in engines]
    return Facts(
        output=output,
        engines=tuple(answer for answer in answers if isinstance(answer, Engine)),
        dead=tuple(answer for answer in answers if isinstance(answer, DeadEngine)),
        podman=pod(),
        nvidia=gpus(),
        contacts=None if offline else tuple(answer() for answer in asked),
    )


def _start(race: Race, target: Target | Contact) -> Callable[[], Contact]:
    if isinstance(target, Contact):
        return lambda: target
    return race.start(partial(contacts.contact, target), late=Contact(target=target, trouble="silent"))
